/**
 * Which of a node's Raft groups. The number goes to disk and onto the wire and never changes its meaning;
 * 1 to 255.
 */
export type GroupId = number;

/** The groups of the system. `mqtt` and `offset` are reserved: they share log and ticker when they come. */
export const GROUP_IDS = { metadata: 1, mqtt: 2, offset: 3 } as const satisfies Record<string, GroupId>;
