/**
 * Messages that are made once for all callers that get the same, and that stay the same object for as long as nothing in them changes:
 * a stream sends only what differs from its last message.
 */
import type { Identity, Subscription } from "./subscription.ts";

/** A message about to be made, and all that it is made of. */
export interface Recipe<R> {
  /** Compared one by one, by identity. */
  readonly ingredients: readonly unknown[];
  make(): R;
}

/** Follows a recipe only when the group of callers may get something new, and makes the message only when it really differs. */
export function once<R>(
  recipeFor: (identities: readonly Identity[]) => Recipe<R> | undefined,
): (subscription: Subscription) => R | undefined {
  interface Kept {
    readonly version: number;
    readonly ingredients: readonly unknown[];
    readonly response: R;
  }
  const kept = new WeakMap<object, Kept>();
  return (subscription) => {
    const { group, version } = subscription;
    const last = kept.get(group);
    if (last?.version === version) return last.response;
    const recipe = recipeFor(subscription.identities());
    if (recipe === undefined) return undefined;
    const { ingredients } = recipe;
    const isSame =
      last?.ingredients.length === ingredients.length &&
      ingredients.every((one, index) => one === last.ingredients[index]);
    const response = isSame ? last.response : recipe.make();
    kept.set(group, { version, ingredients, response });
    return response;
  };
}
