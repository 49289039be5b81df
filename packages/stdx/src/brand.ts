declare const brand: unique symbol;

/**
 * A primitive that carries its meaning in the type: `Brand<number, 'Offset'>` is a number that only
 * the code which parsed or computed an offset can produce, so that it cannot be mistaken for a length.
 */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };
