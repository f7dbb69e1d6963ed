/** How a join word is told from other texts, so that none gets into a message, wherever an operator put it by mistake. */

/** Followed by the version and an underscore. Letters, digits and underscores alone: a double click takes all of it. */
export const JOIN_WORD_NAME = "spirejoin";

const JOIN_WORDS = new RegExp(`${JOIN_WORD_NAME}\\d*_[0-9A-Za-z]+`, "g");

/** The text with what could be a join word cut off behind its beginning. */
export function withoutJoinWords(text: string): string {
  return text.includes(JOIN_WORD_NAME) ? text.replace(JOIN_WORDS, `${JOIN_WORD_NAME}…`) : text;
}

/** Whether a text has the beginning of a join word of any version. */
export function looksLikeJoinWord(text: string): boolean {
  return text.trimStart().startsWith(JOIN_WORD_NAME);
}
