/** What the keeper has to say, in its own words: it counts in a thread of its own. The same in every program that stores packets. */
import { messageOf } from '../base/errors.ts';
import type { KeeperHandlers } from '../keep/keeper.ts';
import type { Log } from '../observe/log.ts';

export function keeperEvents(log: Log): KeeperHandlers {
  return {
    tell: ({ level, fields, message }) => {
      log[level](fields, message);
    },
    failed: (error) => {
      log.error(
        { problem: messageOf(error) },
        'The keeper of the archive died: segments are not finished any more.',
      );
    },
  };
}
