export const PLANTED_FAULTS = [];
