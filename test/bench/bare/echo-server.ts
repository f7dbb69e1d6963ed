/** The least that a gRPC server on Bun and grpc-js can be: the health service on a Unix socket, and nothing else. */
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthService,
} from "#grpc/gen/grpc/health/v1/health.ts";

const server = new Server();
server.addService(HealthService as unknown as ServiceDefinition, {
  check: (_call: unknown, done: (error: null, answer: HealthCheckResponse) => void) =>
    done(null, { status: HealthCheckResponse_ServingStatus.SERVING }),
});
server.bindAsync(`unix:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
