/** Community IDs against the vectors that the specification publishes, and that a flow has one name whichever way it is read. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { communityId } from './community-id.ts';

describe('a community id', () => {
  it.each([
    [6, '128.232.110.120', 34855, '66.35.250.204', 80, '1:LQU9qZlK+B5F3KDmev6m5PMibrg='],
    [17, '192.168.1.52', 54585, '8.8.8.8', 53, '1:d/FP5EW3wiY1vCndhwleRRKHowQ='],
    [1, '192.168.0.89', 8, '192.168.0.1', 0, '1:X0snYXpgwiv9TZtqg64sgzUn6Dk='],
  ])('of the published vectors: protocol %i, %s', (protocol, client, clientPort, server, serverPort, id) => {
    expect(communityId(protocol, client, clientPort, server, serverPort)).toBe(id);
  });

  it('is the same for the answer, and so for an ICMP reply, whose type is the other one', () => {
    expect(communityId(6, '66.35.250.204', 80, '128.232.110.120', 34855)).toBe(
      '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
    );
    expect(communityId(1, '192.168.0.1', 0, '192.168.0.89', 0)).toBe('1:X0snYXpgwiv9TZtqg64sgzUn6Dk=');
    expect(communityId(58, 'fe80::1', 136, 'fe80::2', 0)).toBe(communityId(58, 'fe80::2', 135, 'fe80::1', 0));
  });

  it('of an ICMP message that nobody answers goes one way', () => {
    const there = communityId(1, '10.0.0.1', 3, '10.0.0.2', 1);
    expect(communityId(1, '10.0.0.2', 3, '10.0.0.1', 1)).not.toBe(there);
  });

  it('is none on Ethernet, and none between addresses of two kinds', () => {
    expect(communityId(-1, '02:00:00:00:00:01', -1, '02:00:00:00:00:02', -1)).toBe('');
    expect(communityId(6, '10.0.0.1', 1, 'fe80::1', 2)).toBe('');
  });

  it('depends on the seed and on nothing that is not in it', () => {
    const one = communityId(47, '10.0.0.1', 1, '10.0.0.2', 2);
    expect(communityId(47, '10.0.0.1', 7, '10.0.0.2', 9)).toBe(one);
    expect(communityId(47, '10.0.0.1', 1, '10.0.0.2', 2, 1)).not.toBe(one);
  });

  it('is symmetric for any two ends', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6().filter((text) => !text.includes('.'))); // prettier-ignore
    const port = fc.nat(65_535);
    fc.assert(
      fc.property(fc.constantFrom(6, 17, 132, 47), address, port, address, port, (protocol, a, ap, b, bp) => {
        expect(communityId(protocol, a, ap, b, bp)).toBe(communityId(protocol, b, bp, a, ap));
      }),
    );
  });
});
