/** The data could not be saved; file, {name, content}, holds them. */
export class NotSaved extends Error {
  constructor(file) {
    super("the data could not be saved");
    this.file = file;
  }
}
