"""A workload written with the Python package `spiffe`. Prints JSON, one object a line.

usage: client.py x509|jwt|bundles|watch SOCKET [AUDIENCE]
"""

import json
import sys
import threading

from spiffe import TrustDomain, WorkloadApiClient


def emit(value):
    print(json.dumps(value), flush=True)


def x509(client, _):
    context = client.fetch_x509_context(timeout=20)
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    emit({"id": str(svid.spiffe_id), "svids": len(context.x509_svids), "authorities": len(bundle.x509_authorities)})


def jwt(client, audience):
    svid = client.fetch_jwt_svid(audience={audience}, timeout=20)
    validated = client.validate_jwt_svid(svid.token, audience, timeout=20)
    emit({"id": str(svid.spiffe_id), "validatedId": str(validated.spiffe_id), "token": svid.token})


def bundles(client, trust_domain):
    name = TrustDomain(trust_domain)
    x509_bundle = client.fetch_x509_bundles(timeout=20).get_bundle_for_trust_domain(name)
    jwt_bundle = client.fetch_jwt_bundles(timeout=20).get_bundle_for_trust_domain(name)
    emit({"x509Authorities": len(x509_bundle.x509_authorities), "jwtAuthorities": len(jwt_bundle.jwt_authorities)})


def watch(client, _):
    def update(context):
        emit({"ids": sorted(str(svid.spiffe_id) for svid in context.x509_svids)})

    # By default the package tries again for ever, and never says that the stream was refused.
    client.stream_x509_contexts(update, lambda error: emit({"error": str(error)}), retry_connect=False)
    threading.Event().wait()


COMMANDS = {"x509": x509, "jwt": jwt, "bundles": bundles, "watch": watch}


def main():
    command, socket = sys.argv[1], sys.argv[2]
    with WorkloadApiClient("unix://" + socket) as client:
        COMMANDS[command](client, sys.argv[3] if len(sys.argv) > 3 else None)


if __name__ == "__main__":
    main()
