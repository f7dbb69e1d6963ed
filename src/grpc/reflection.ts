/**
 * Server reflection, for tools like grpcurl: which services a socket has, and what their messages look like. It tells what is in our
 * published .proto files, nothing of who calls or is served. The descriptors are loaded when somebody asks, which most sockets never see.
 */

import type { FileDescriptor } from "#proto/descriptors.ts";
import {
  type ServerReflectionRequest as Request,
  type ServerReflectionResponse as Response,
  ServerReflectionService,
} from "#proto/grpc/reflection/v1/reflection.ts";
import { ServerReflectionService as AlphaService } from "#proto/grpc/reflection/v1alpha/reflection.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type BindOptions, type BoundService, bindService, type CallContext } from "./bind.ts";

type Asked = NonNullable<Request["messageRequest"]>;
type Answer = NonNullable<Response["messageResponse"]>;

/** @returns the services given, and reflection on all of them in both of its versions */
export function withReflection(
  services: readonly BoundService[],
  options: BindOptions,
): readonly BoundService[] {
  const names: string[] = [];
  const handlers = {
    serverReflectionInfo: (
      requests: AsyncIterable<Request>,
      _context: CallContext,
      send: (response: Response) => Promise<void>,
    ) => answerAll(names, requests, send),
  };
  const all = [
    ...services,
    bindService(ServerReflectionService, handlers, options),
    bindService(AlphaService, handlers, options),
  ];
  names.push(...all.flatMap(serviceName).sort());
  return all;
}

/** As the paths of its methods have it: `/package.Service/Method`. */
function serviceName({ definition }: BoundService): string[] {
  const [method] = Object.values(definition);
  return method === undefined ? [] : [method.path.split("/")[1] ?? ""];
}

async function answerAll(
  services: readonly string[],
  requests: AsyncIterable<Request>,
  send: (response: Response) => Promise<void>,
): Promise<void> {
  const { FILE_DESCRIPTORS } = await import("#proto/descriptors.ts");
  const files = new Files(FILE_DESCRIPTORS);
  for await (const request of requests) {
    const { host, messageRequest: asked } = request;
    if (asked === undefined) {
      throw new StatusError(StatusCode.INVALID_ARGUMENT, "invalid MessageRequest: it asks nothing");
    }
    const answer = answerTo(asked, services, files) ?? NOT_FOUND;
    await send({ validHost: host, originalRequest: request, messageResponse: answer });
  }
}

const NOT_FOUND: Answer = {
  $case: "errorResponse",
  value: { errorCode: StatusCode.NOT_FOUND, errorMessage: "proto: not found" },
};

function answerTo(asked: Asked, services: readonly string[], files: Files): Answer | undefined {
  switch (asked.$case) {
    case "listServices":
      return {
        $case: "listServicesResponse",
        value: { service: services.map((name) => ({ name })) },
      };
    case "fileByFilename":
      return filesAnswer(files.withImports(files.named(asked.value)));
    case "fileContainingSymbol":
      return filesAnswer(files.withImports(files.declaring(asked.value)));
    // What is served here extends nothing, and nothing extends it.
    case "fileContainingExtension":
      return undefined;
    case "allExtensionNumbersOfType":
      return files.declaring(asked.value) === undefined
        ? undefined
        : {
            $case: "allExtensionNumbersResponse",
            value: { baseTypeName: asked.value, extensionNumber: [] },
          };
  }
}

function filesAnswer(files: readonly FileDescriptor[]): Answer | undefined {
  if (files.length === 0) return undefined;
  const fileDescriptorProto = files.map(({ descriptor }) => Buffer.from(descriptor, "base64"));
  return { $case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

/** The files as one stream gets them: what it has been sent once is not sent again as another's import. */
class Files {
  readonly #files: readonly FileDescriptor[];
  readonly #sent: Set<FileDescriptor> = new Set();

  constructor(files: readonly FileDescriptor[]) {
    this.#files = files;
  }

  named(name: string): FileDescriptor | undefined {
    return this.#files.find((file) => file.name === name);
  }

  declaring(symbol: string): FileDescriptor | undefined {
    return this.#files.find(({ symbols }) => symbols.includes(symbol));
  }

  /** The file first, whether it was sent or not. */
  withImports(file: FileDescriptor | undefined): readonly FileDescriptor[] {
    if (file === undefined) return [];
    const found = new Set([file]);
    for (const one of found) {
      this.#sent.add(one);
      for (const name of one.imports) {
        const imported = this.named(name);
        if (imported !== undefined && !this.#sent.has(imported)) found.add(imported);
      }
    }
    return [...found];
  }
}
