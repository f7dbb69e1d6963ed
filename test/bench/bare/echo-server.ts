/**
 * The least that a gRPC server on Bun and grpc-js can be: the health service on a Unix socket, over TLS too when it is given an address,
 * and nothing else.
 *
 *   echo-server SOCKET [HOST:PORT KEY.pem CERTIFICATE.pem]
 */
import { readFileSync } from "node:fs";
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthService,
} from "#proto/grpc/health/v1/health.ts";

const server = new Server();
server.addService(HealthService as unknown as ServiceDefinition, {
  check: (_call: unknown, done: (error: null, answer: HealthCheckResponse) => void) =>
    done(null, { status: HealthCheckResponse_ServingStatus.SERVING }),
});
const [, , socket, address, key, certificate] = process.argv;
const failed = (error: Error | null): void => {
  if (error !== null) throw error;
};
if (address !== undefined && key !== undefined && certificate !== undefined) {
  const pair = { private_key: readFileSync(key), cert_chain: readFileSync(certificate) };
  server.bindAsync(address, ServerCredentials.createSsl(null, [pair]), failed);
}
server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), failed);
