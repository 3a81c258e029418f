import { describe, expect, it } from 'vitest';
import { AdaptiveSlots, fixedSlots } from '../../core/engine/slots.ts';

const never = new AbortController().signal;

/** A cloud that carries so much a millisecond for a number of transfers; one window after the other. */
async function windows(slots: AdaptiveSlots, clock: { now: number }, speed: (lanes: number) => number, count: number) {
  const limits: number[] = [];
  for (let window = 0; window < count; window++) {
    const taken = [];
    for (let free = slots.tryTake(); free !== undefined; free = slots.tryTake()) taken.push(free);
    clock.now += 300;
    slots.passed(speed(taken.length) * 300);
    for (const slot of taken) slot[Symbol.dispose]();
    limits.push(slots.limit);
  }
  return limits;
}

describe('slots for transfers', () => {
  it('are added as long as that makes the run faster, and taken back when it does not', async () => {
    const clock = { now: 0 };
    const slots = new AdaptiveSlots({ most: 256, adapts: true, now: () => clock.now });
    // Forty at once are as fast as it gets.
    const limits = await windows(slots, clock, (lanes) => Math.min(lanes, 40) * 1000, 60);
    expect(limits.slice(0, 6)).toEqual([8, 8, 8, 16, 32, 64]);
    expect(limits.at(-1)).toBeGreaterThanOrEqual(32);
    expect(limits.at(-1)).toBeLessThan(80);
    expect(slots.peak).toBeLessThanOrEqual(80);
  });

  it('stay few where more of them are no faster', async () => {
    const clock = { now: 0 };
    const slots = new AdaptiveSlots({ most: 256, adapts: true, now: () => clock.now });
    const limits = await windows(slots, clock, () => 5000, 40);
    expect(limits.filter((limit) => limit > 16)).toEqual([]);
    expect(limits.filter((limit) => limit === 8).length).toBeGreaterThan(30);
  });

  it('are halved when a server says that it is too much, once for all that hear it, and come back by and by', async () => {
    const clock = { now: 0 };
    let throttled = 0;
    const slots = new AdaptiveSlots({ most: 64, adapts: false, throttled: () => throttled, now: () => clock.now });
    const taken = await Promise.all(Array.from({ length: 64 }, () => slots.take(never)));
    throttled = 20;
    for (const slot of taken.slice(0, 40)) slot[Symbol.dispose]();
    expect(slots.limit).toBe(32);
    for (const slot of taken.slice(40)) slot[Symbol.dispose]();
    const limits = await windows(slots, clock, (lanes) => lanes, 60);
    expect(limits.at(-1)).toBe(64);
  });

  it('adapt while what has them goes on for hours', async () => {
    const clock = { now: 0 };
    let throttled = 0;
    const slots = new AdaptiveSlots({ most: 64, adapts: true, throttled: () => throttled, now: () => clock.now });
    const taken = await Promise.all(Array.from({ length: 8 }, () => slots.take(never)));
    const ninth = slots.take(never);
    for (let window = 0; window < 5; window++) {
      clock.now += 300;
      slots.passed(1000);
    }
    expect(slots.limit).toBeGreaterThan(8);
    (await ninth)[Symbol.dispose]();
    throttled++;
    slots.passed(1000);
    expect(slots.limit).toBeLessThanOrEqual(8);
    for (const slot of taken) slot[Symbol.dispose]();
  });

  it('never fall below one', async () => {
    const clock = { now: 0 };
    let throttled = 0;
    const slots = new AdaptiveSlots({ most: 4, adapts: false, throttled: () => throttled, now: () => clock.now });
    for (let time = 0; time < 10; time++) {
      const slot = await slots.take(never);
      throttled++;
      clock.now += 300;
      slot[Symbol.dispose]();
      (await slots.take(never))[Symbol.dispose]();
    }
    expect(slots.limit).toBe(1);
  });

  it('are given in the order of asking, and to nobody who has left', async () => {
    const slots = fixedSlots(1);
    const first = await slots.take(never);
    expect(slots.tryTake()).toBeUndefined();
    const leaving = new AbortController();
    const left = slots.take(leaving.signal);
    const order: string[] = [];
    const second = slots.take(never).then((slot) => {
      order.push('second');
      expect(slots.tryTake()).toBeUndefined();
      slot[Symbol.dispose]();
    });
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'stopped' });
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await second;
    expect(order).toEqual(['second']);
    expect(slots.tryTake()).toBeDefined();
    expect(slots.tryTake()).toBeUndefined();
  });
});
