export const PRICE = 10;
