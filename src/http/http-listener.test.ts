import { expect, test } from "bun:test";
import { connect } from "node:net";
import { listenHttp } from "./http-listener.ts";

/** What the listener answers to a client that goes on sending, until it hangs up. */
function heard(address: string, head: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const [host = "", port] = address.split(":");
  let text = "";
  const socket = connect(Number(port), host, () => socket.write(head));
  const sending = setInterval(() => socket.write("x"), 20);
  socket.setEncoding("latin1").on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => {});
  socket.once("close", () => {
    clearInterval(sending);
    resolve(text);
  });
  return promise;
}

test.each([
  ["a length", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"],
  ["no end", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n"],
])("a request whose body has %s is refused, and its connection ends", async (_, head) => {
  const answer = async () => ({ status: 200, contentType: "text/plain", body: "well" });
  const listener = await listenHttp({ host: "127.0.0.1", port: 0, answer });
  expect(await heard(listener.address, head)).toStartWith("HTTP/1.1 413 ");
  await listener.close();
});
