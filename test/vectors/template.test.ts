/** The vectors of templates; test/interop/templates.test.ts asks Go about the same ones. */
import { expect, test } from "bun:test";
import { Template } from "#config/template/template.ts";
import { TemplateError } from "#config/template/values.ts";
import { nodeFields } from "../support/template-node.ts";
import vectors from "./template.json";

const { node, accepted, refused } = vectors;
const fields = nodeFields(node);
const execute = (text: string): string => Template.parse(text, Object.keys(node)).execute(fields);

test.each(accepted.map(({ input, output }) => [input, output] as const))("%s", (input, output) => {
  expect(execute(input)).toBe(output);
});

test.each(refused.map(({ input, why }) => [input, why] as const))("%s is refused", (input, why) => {
  let problem: unknown;
  try {
    execute(input);
  } catch (error) {
    problem = error;
  }
  expect(problem).toBeInstanceOf(TemplateError);
  expect(String(problem)).toContain(why);
});
