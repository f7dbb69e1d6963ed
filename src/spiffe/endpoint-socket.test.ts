import { expect, test } from "bun:test";
import { parseEndpointSocket } from "./endpoint-socket.ts";

test.each(["unix:///run/api.sock", "unix:/run/api.sock", "/run/api.sock"])("%s", (address) => {
  expect(parseEndpointSocket(address)).toBe("/run/api.sock");
});

test.each(["unix:run/api.sock", "tcp://127.0.0.1:80", ""])("%p is refused", (address) => {
  expect(() => parseEndpointSocket(address)).toThrow(
    `${JSON.stringify(address)} is not of the form unix:///PATH`,
  );
});
