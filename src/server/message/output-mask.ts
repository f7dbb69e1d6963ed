/** The fields of a message that an output mask names; without a mask, all of them. What is left out has its default. */
export function maskedMessage<Message extends object>(
  message: Message,
  mask: { readonly [Field in keyof Message]?: boolean } | undefined,
  defaults: Message,
): Message {
  if (mask === undefined) return message;
  const result = { ...message };
  for (const field of Object.keys(mask) as (keyof Message)[]) {
    if (mask[field] !== true) result[field] = defaults[field];
  }
  return result;
}
