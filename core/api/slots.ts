/** The right to have one transfer, or one part of one, under way; disposing gives it back. */
export type Slot = Disposable;

/** How many transfers may be under way at once, for all of a run. */
export interface Slots {
  /** One more, if it is free at this moment and nobody waits for it. */
  tryTake(): Slot | undefined;
}
