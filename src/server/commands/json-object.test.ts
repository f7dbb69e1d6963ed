import { describe, expect, test } from "bun:test";
import { JsonObject } from "./json-object.ts";

describe("a JSON object from a file", () => {
  test("matches keys in any case and reads null and absence as zero", () => {
    const object = JsonObject.parse('{"Spiffe_ID": "a", "ttl": null, "more": 1}');
    expect(object.text("spiffe_id")).toBe("a");
    expect(object.number("ttl")).toBe(0);
    expect(object.flag("admin")).toBe(false);
    expect(object.strings("names")).toEqual([]);
    expect(object.object("inner")).toBeUndefined();
  });

  test.each([
    ["", "unexpected end of JSON input"],
    ["[]", "json: the document must be an object"],
    ["null", "json: the document must be an object"],
    ['{"entries": {}}', "json: entries must be a list"],
    ['{"entries": [5]}', "json: entries[0] must be an object"],
    ['{"entries": [{"id": 5}]}', "json: entries[0].id must be a string"],
    ['{"entries": [{"id": "", "ttl": "5"}]}', "json: entries[0].ttl must be a whole number"],
    ['{"entries": [{"ttl": 1.5}]}', "json: entries[0].ttl must be a whole number"],
    ['{"entries": [{"names": ["a", 1]}]}', "json: entries[0].names[1] must be a string"],
    ['{"entries": [{"admin": "yes"}]}', "json: entries[0].admin must be true or false"],
  ])("%s is refused by name", (text, message) => {
    const read = (): void => {
      for (const entry of JsonObject.parse(text).objects("entries")) {
        entry.text("id");
        entry.number("ttl");
        entry.strings("names");
        entry.flag("admin");
      }
    };
    expect(read).toThrow(new Error(message));
  });
});
