import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
} from "@grpc/grpc-js";

type Status = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** A call of grpc-js whose answer passes at once, and as it is: grpc-js's own wrapper makes a closure for each step of it. */
export class PlainCall extends ServerInterceptingCall {
  readonly #call: ServerInterceptingCallInterface;

  constructor(call: ServerInterceptingCallInterface) {
    super(call);
    this.#call = call;
  }

  override sendMetadata(metadata: Metadata): void {
    this.#call.sendMetadata(metadata);
  }

  override sendMessage(message: unknown, sent: () => void): void {
    this.#call.sendMessage(message, sent);
  }

  override sendStatus(status: Status): void {
    this.#call.sendStatus(status);
  }
}
