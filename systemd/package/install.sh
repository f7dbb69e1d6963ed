#!/bin/sh
# Installs spire-edge from this directory on a machine with systemd: executables into /usr/local/bin, units into /etc/systemd/system.
# Checks all files against SHA256SUMS first. Configuration that is already there is kept. Starts nothing that did not run before.
#
#   ./install.sh server         the server
#   ./install.sh agent          the agent
#   ./install.sh remove server|agent
#                               takes away what was installed; configuration, keys and data stay
set -eu
cd "$(dirname "$0")"

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '5,8s/^# \{0,1\}//p' install.sh >&2
  exit 2
}

install_part() {
  # Anybody who could change a file could change the sums as well: those are to be compared with a copy that came another way.
  sha256sum --quiet --check SHA256SUMS || fail "a file is not what SHA256SUMS says; nothing was installed"
  [ ! -e "/usr/bin/spire-$part" ] || fail "/usr/bin/spire-$part is there: remove the package that it belongs to first"
  install -D -m 755 "spire-$part" "/usr/local/bin/.spire-$part.new"
  # Renamed, not written over: the file that runs cannot be written to.
  mv "/usr/local/bin/.spire-$part.new" "/usr/local/bin/spire-$part"
  for unit in $units; do
    sed "s|/usr/bin/spire-$part|/usr/local/bin/spire-$part|" "$unit" >"/etc/systemd/system/${unit##*/}"
  done
  install -D -m 644 "systemd/sysusers.d/spire-edge-$part.conf" -t /etc/sysusers.d
  install -D -m 644 "systemd/tmpfiles.d/spire-edge-$part.conf" -t /etc/tmpfiles.d
  for file in $shell; do install -D -m 644 "share/$file" "/usr/local/share/$file"; done
  [ -e "/etc/spire/$part/$part.conf" ] || install -D -m 640 "conf/$part.conf" -t "/etc/spire/$part"
  # Where an image is built there may be no /proc, which both need; the machine does the same when it boots.
  systemd-sysusers "/etc/sysusers.d/spire-edge-$part.conf" \
    || echo "systemd-sysusers failed: the user spire-$part is made when the machine boots" >&2
  systemd-tmpfiles --create "/etc/tmpfiles.d/spire-edge-$part.conf" \
    || echo "systemd-tmpfiles failed: directories get their owners when the machine boots" >&2
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart "spire-$part.service" $instances
  fi
  echo "installed. Next: edit /etc/spire/$part/$part.conf, then systemctl enable --now spire-$part"
}

remove_part() {
  if [ -d /run/systemd/system ]; then
    systemctl stop "spire-$part.*" $instances
  fi
  rm -f "/usr/local/bin/spire-$part" "/etc/sysusers.d/spire-edge-$part.conf" "/etc/tmpfiles.d/spire-edge-$part.conf"
  for file in $shell; do rm -f "/usr/local/share/$file"; done
  for unit in $units; do
    systemctl --no-reload disable "${unit##*/}" 2>/dev/null || true
    rm -f "/etc/systemd/system/${unit##*/}"
  done
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
  fi
  echo "removed. /etc/spire/$part and /var/lib/spire/$part are as they were"
}

act=install_part
if [ "${1-}" = remove ]; then
  act=remove_part
  shift
fi
case ${1-} in
  server | agent) part=$1 ;;
  *) usage ;;
esac
# Words: no name has a blank, and no file here is like a pattern for systemctl.
units=$(echo systemd/"spire-$part"*)
instances="spire-$part@*.service"
# Completion for bash, zsh and fish, and the manual page.
shell="bash-completion/completions/spire-$part zsh/site-functions/_spire-$part fish/vendor_completions.d/spire-$part.fish man/man1/spire-$part.1.gz"
if [ "$part" = agent ]; then
  units="$units systemd/spire-svid-files@.service"
  instances="$instances spire-svid-files@*.service"
fi
[ "$(id -u)" = 0 ] || fail "needs root"
command -v systemctl >/dev/null || fail "there is no systemd on this machine"
$act
