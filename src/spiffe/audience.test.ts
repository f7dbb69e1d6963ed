import { expect, test } from "bun:test";
import { namedAudience } from "./audience.ts";
import { StatusCode, StatusError } from "./status-error.ts";

test("empty words name nobody", () => {
  expect(namedAudience(["", "billing", "", "reports"], "nobody")).toEqual(["billing", "reports"]);
});

test.each([[[]], [[""]], [["", ""]]])("%p is refused", (asked) => {
  expect(() => namedAudience(asked, "nobody is named")).toThrow(
    new StatusError(StatusCode.INVALID_ARGUMENT, "nobody is named"),
  );
});
