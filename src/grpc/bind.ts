/**
 * Services as plain async functions: messages in, messages out, StatusError for whatever goes wrong. The guard runs before any handler.
 */
import type {
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { Log } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Caller } from "./caller.ts";
import { type Encoded, orEncoded } from "./encoded.ts";
import { decodeWithin, type MessageLimits, PUBLIC_LIMITS } from "./message-limits.ts";
import { sourceOf } from "./remote-source.ts";
import { toServiceError } from "./status.ts";

export interface CallContext {
  /** `/package.Service/Method` */
  readonly method: string;
  readonly caller: Caller;
  readonly metadata: Metadata;
  /** Aborted when the call is cancelled, its deadline passes or its connection closes. */
  readonly signal: AbortSignal;
  /** What a guard found out, for the handler. */
  readonly values: Map<symbol | string, unknown>;
  /** Sent after the answer of a unary call, where the handler sets it. */
  trailer?: Metadata;
}

interface MethodShape {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

type RequestOf<M extends MethodShape> = ReturnType<M["requestDeserialize"]>;
type ResponseOf<M extends MethodShape> = ReturnType<M["responseDeserialize"]> | Encoded;
type Send<M extends MethodShape> = (response: ResponseOf<M>) => Promise<void>;

/** The function that serves a method, by the method's kind. */
export type Handler<M extends MethodShape> = M["requestStream"] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext, send: Send<M>) => Promise<void>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, context: CallContext, send: Send<M>) => Promise<void>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>>;

type Definition = Readonly<Record<string, MethodShape>>;
export type Handlers<D extends Definition> = { readonly [K in keyof D]?: Handler<D[K]> };

/** What a caller that was let in may send with one call. */
export interface Allowance extends MessageLimits {
  /** Who is to answer for what it sends: an address, a uid, a SPIFFE ID. */
  readonly source: string;
  /** Whether it is somebody the operator knows; strangers share less memory. */
  readonly isKnown: boolean;
}

export interface BindOptions {
  /** Runs first, for each call, before a byte of the request is read; throws to refuse it. */
  readonly guard?: (context: CallContext) => Promise<void>;
  /** Asked when the guard has let the caller in; what anybody may send where it is absent. */
  readonly allowance?: (context: CallContext) => Allowance;
  readonly log: Log;
}

/** Told of every call that a listener takes, be it refused or not. */
export interface CallObserver {
  /** @param method as on the wire, `/package.Service/Method` */
  started?(method: string): void;
  /** @param error undefined when all went well @param elapsedMs from the call's start */
  ended(method: string, error: unknown, elapsedMs: number): void;
}

/** A call that was let in. */
export interface Admitted {
  readonly context: CallContext;
  readonly allowance: Allowance;
  /** To be called once. @param error undefined when all went well */
  readonly ended: (error: unknown) => void;
}

/** What grpc-js sends for a failed call. */
type Refusal = ReturnType<typeof toServiceError>;

/** A method that has a handler. */
export interface BoundMethod {
  /** The key of the method in the service's definition. */
  readonly name: string;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly requestStream: boolean;
  /** @throws StatusError to refuse the call */
  readonly guard: (context: CallContext) => Promise<void>;
  readonly allowance: (context: CallContext) => Allowance;
  /** What the caller reads of an error; one that was not thought of is logged. */
  readonly refusal: (error: unknown) => Refusal;
  /** @param admitted the call as it was let in */
  serve(admitted: (metadata: Metadata) => Admitted): UntypedServiceImplementation[string];
}

/** A service ready for a listener. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly methods: readonly BoundMethod[];
}

/** Binds handlers to a generated service definition. A method without a handler answers UNIMPLEMENTED. */
export function bindService<D extends Definition>(
  definition: D,
  handlers: Handlers<D>,
  options: BindOptions,
): BoundService {
  const methods = Object.entries(definition).flatMap(([name, method]) => {
    const handler = handlers[name] as AnyHandler | undefined;
    return handler === undefined ? [] : [bindMethod(name, method, handler, options)];
  });
  return { definition: asBytes(definition), methods };
}

/**
 * ts-proto writes the definition with exact message types; grpc-js takes any. Requests stay bytes until it is known how much of them may
 * become objects.
 */
function asBytes(definition: Definition): ServiceDefinition {
  const methods = Object.entries(definition as unknown as ServiceDefinition);
  return Object.fromEntries(
    methods.map(([name, method]) => [
      name,
      {
        ...method,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: orEncoded(method.responseSerialize),
      },
    ]),
  );
}

type AnyCall = ServerUnaryCall<Buffer, unknown> &
  ServerWritableStream<Buffer, unknown> &
  ServerReadableStream<Buffer, unknown> &
  ServerDuplexStream<Buffer, unknown>;
type AnyHandler = (
  input: unknown,
  context: CallContext,
  send: (response: unknown) => Promise<void>,
) => Promise<unknown>;
type AnyServe = (call: AnyCall, callback: Parameters<handleUnaryCall<Buffer, unknown>>[1]) => void;

function bindMethod(
  name: string,
  method: MethodShape,
  handler: AnyHandler,
  { guard, allowance, log }: BindOptions,
): BoundMethod {
  const { path, requestStream } = method;
  const refusal = (error: unknown): Refusal => {
    if (!(error instanceof StatusError)) {
      log.error("A call failed unexpectedly", { method: path, error });
    }
    return toServiceError(error);
  };
  return {
    name,
    path,
    requestStream,
    guard: guard ?? (async () => {}),
    allowance: allowance ?? publicAllowance,
    refusal,
    serve: (admitted) => serve(method, handler, refusal, admitted),
  };
}

/** The allowance of whoever is nobody in particular. */
export function publicAllowance({ caller }: CallContext): Allowance {
  const source = caller.kind === "unix" ? `uid ${caller.peer.uid}` : sourceOf(caller.remoteAddress);
  return { ...PUBLIC_LIMITS, source, isKnown: false };
}

interface Served {
  readonly response: unknown;
  readonly trailer: Metadata | undefined;
}

function serve(
  method: MethodShape,
  handler: AnyHandler,
  refusal: (error: unknown) => Refusal,
  admitted: (metadata: Metadata) => Admitted,
): UntypedServiceImplementation[string] {
  const run = async (call: AnyCall): Promise<Served> => {
    const { context, allowance, ended } = admitted(call.metadata);
    try {
      const decode = (bytes: Buffer): unknown =>
        decodeWithin(method.requestDeserialize, bytes, allowance.fields);
      const requests = method.requestStream ? requestsOf(call, decode) : decode(call.request);
      const response = await handler(requests, context, (message) => write(call, message));
      ended(undefined);
      return { response, trailer: context.trailer };
    } catch (error) {
      ended(error);
      throw error;
    }
  };
  const unary: AnyServe = (call, callback) => {
    run(call).then(
      ({ response, trailer }) => callback(null, response, trailer),
      (error: unknown) => callback(refusal(error)),
    );
  };
  const stream: AnyServe = (call) => {
    // A stream that breaks off is the caller's affair; without a listener it would end the process.
    call.on("error", () => {});
    run(call).then(
      () => call.end(),
      (error: unknown) => call.emit("error", refusal(error)),
    );
  };
  return (method.responseStream
    ? stream
    : unary) as unknown as UntypedServiceImplementation[string];
}

/** @throws StatusError CANCELLED when the caller leaves without having ended its side: that is no failure of ours */
async function* requestsOf(
  call: AnyCall,
  decode: (bytes: Buffer) => unknown,
): AsyncGenerator<unknown> {
  // The default iterator would destroy the whole stream when the caller half-closes, before the status is sent.
  const messages = call.iterator({ destroyOnReturn: false });
  for (;;) {
    const next = await messages.next().catch((error: unknown) => {
      throw new StatusError(StatusCode.CANCELLED, "the caller is gone", { cause: error });
    });
    if (next.done) return;
    yield decode(next.value);
  }
}

/** Sends one message, waiting while the caller is slower than we are: until the message has left for the network. */
function write(call: AnyCall, response: unknown): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const gone = (): void => reject(new StatusError(StatusCode.CANCELLED, "the caller is gone"));
  if (call.cancelled || call.destroyed) {
    gone();
    return promise;
  }
  // Of a call that is cancelled meanwhile, grpc-js drops the message without a word.
  call.once("cancelled", gone);
  call.write(response, (error?: Error | null) => {
    call.off("cancelled", gone);
    if (error) gone();
    else resolve();
  });
  return promise;
}
