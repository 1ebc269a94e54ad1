// The part of marked that markdown.js uses.
export function lexer(text: string, options?: { gfm?: boolean; breaks?: boolean }): any[];
