import type { CallContext } from "#grpc/bind.ts";
import { asStatusError, logFailure } from "#server/message/failure.ts";
import { apiCall } from "./api-call.ts";

type Handler = (request: unknown, context: CallContext, send: unknown) => Promise<unknown>;

/**
 * Wraps the handlers of a service: how each call ended is written to the audit log, and what it failed with to the log.
 */
export function audited<Handlers extends object>(handlers: Handlers): Handlers {
  const wrapped = Object.entries(handlers).map(([name, handler]) => [
    name,
    auditedHandler(handler as Handler),
  ]);
  return Object.fromEntries(wrapped) as Handlers;
}

function auditedHandler(handler: Handler): Handler {
  return async (request, context, send) => {
    const { audit, failures } = apiCall(context);
    try {
      const response = await handler(request, context, send);
      audit.succeeded();
      return response;
    } catch (thrown) {
      const error = asStatusError(thrown);
      logFailure(failures, error);
      audit.failed(error);
      throw error;
    }
  };
}
