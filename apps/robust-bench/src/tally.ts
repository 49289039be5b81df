import { Histogram } from './histogram.js';

/** What a run counts; one object, changed in place by all clients of the run. */
export class Tally {
  sent = 0;
  acked = 0;
  /** PUBLISHes the broker answered with a failure. */
  refused = 0;
  received = 0;
  /** Messages of other runs, or that went to the wrong subscriber. */
  foreign = 0;
  /** Times that nothing came for a second and the closed loop was opened again. */
  stalls = 0;
  disconnects = 0;
  /** Acknowledgements of nothing. */
  errors = 0;
  lastReceivedMs = 0;
  /** In microseconds: from when a message was due until it was there. Only while measuring. */
  latency = new Histogram();
  /** In microseconds: from the PUBLISH until it was acknowledged. Only while measuring. */
  ackLatency = new Histogram();
  measuring = false;
}
