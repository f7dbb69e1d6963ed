# Sourced by the scripts beside it: finds or installs Bun (the version pinned in package.json, from npm) and the dependencies.
# Sets ROOT and BUN. Nothing is installed outside the checkout, except npm itself by apt-get where it is missing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
mkdir -p "$BUILD/log"

say() { printf '%s\n' "$*" >&2; }

# step NAME COMMAND...: runs the command with its output in a log, tells how it goes, and shows the log's end on failure.
step() {
  local name=$1 log started
  shift
  log=$BUILD/log/$(printf '%s' "$name" | tr -c 'A-Za-z0-9\n' '-').log
  started=$SECONDS
  printf '%-46s ' "$name ..." >&2
  if "$@" >"$log" 2>&1; then
    say "done ($((SECONDS - started)) s)"
  else
    say "FAILED"
    tail -n 30 "$log" >&2
    say "step \"$name\" failed; its whole output is in $log"
    return 1
  fi
}

bun_version() { sed -n 's/^ *"bun": "\([0-9.]*\)".*/\1/p' "$ROOT/package.json"; }

install_npm() {
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "npm is missing: install Node.js with npm (on Debian: apt-get install npm) and run this again"
    return 1
  fi
  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm
}

install_bun() {
  local machine libc=
  machine=$(uname -m)
  case $machine in
    x86_64) machine=x64 ;;
    aarch64) machine=aarch64 ;;
    *)
      echo "Bun has no build for $machine; spire-edge runs on x86_64 and aarch64"
      return 1
      ;;
  esac
  if ldd --version 2>&1 | grep -qi musl; then libc=-musl; fi
  npm install --no-save --no-package-lock --no-audit --no-fund --prefix "$BUILD/bun-$1" \
    "@oven/bun-linux-$machine$libc@$1" &&
    ln -sfn "$BUILD/bun-$1/node_modules/@oven/bun-linux-$machine$libc/bin/bun" "$BUILD/bun-$1/bun"
}

ensure_toolchain() {
  local version
  version=$(bun_version)
  BUN=$BUILD/bun-$version/bun
  if [ ! -x "$BUN" ]; then
    command -v npm >/dev/null || step "npm from Debian" install_npm
    step "Bun $version from npm" install_bun "$version"
  fi
  export BUN
  if [ "$ROOT/bun.lock" -nt "$BUILD/dependencies" ]; then
    step "dependencies from npm" "$BUN" install --cwd "$ROOT" --frozen-lockfile
    touch "$BUILD/dependencies"
  fi
}
