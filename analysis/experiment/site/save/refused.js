/** The participant cannot take part; the message is for them. */
export class Refused extends Error {}
