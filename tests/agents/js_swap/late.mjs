import { PRICE } from './prices.mjs';

export const late = `late ${PRICE}`;
