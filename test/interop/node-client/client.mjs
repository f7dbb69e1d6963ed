// A workload written with gRPC for Node.js. Prints its X509-SVID's ID as JSON.
//
// usage: client.mjs SOCKET [AUTHORITY]

import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Client, credentials, Metadata } from "@grpc/grpc-js";

/** The first of a message's fields of number 1, which is bytes, a text or a message. */
function firstField(message) {
  const reader = new BinaryReader(message);
  for (;;) {
    const [number, wireType] = reader.tag();
    if (number === 1) return reader.bytes();
    reader.skip(wireType, number);
  }
}

const [socket, authority] = process.argv.slice(2);
const options = authority === undefined ? {} : { "grpc.default_authority": authority };
const client = new Client(`unix:${socket}`, credentials.createInsecure(), options);
const metadata = new Metadata();
metadata.set("workload.spiffe.io", "true");
const stream = client.makeServerStreamRequest(
  "/SpiffeWorkloadAPI/FetchX509SVID",
  () => Buffer.alloc(0),
  (bytes) => bytes,
  undefined,
  metadata,
);
let isServed = false;
stream.on("data", (response) => {
  isServed = true;
  const svid = firstField(response);
  console.log(JSON.stringify({ id: Buffer.from(firstField(svid)).toString() }));
  stream.cancel();
  client.close();
});
stream.on("error", (error) => {
  if (isServed) return;
  console.error(error.message);
  process.exitCode = 1;
});
