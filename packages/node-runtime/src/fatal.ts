/** The only place where the process is ended; whatever must be written has been written before. */
export function exitProcess(code: number): never {
  process.exit(code);
}
