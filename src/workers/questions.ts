/** Questions to others, whose answers come by another way. */
export interface Questions<Who, Answer> {
  /**
   * @param put puts the question, under a number that its answer will name
   * @param patienceMs milliseconds to wait
   * @returns undefined where no answer has come, or one without content
   */
  ask(who: Who, put: (id: number) => void, patienceMs: number): Promise<Answer | undefined>;
  /** An answer has come; too late, or to a question that nobody has put, it is passed over. */
  answered(id: number, answer?: Answer): void;
  /** No answer will come from there any more. */
  gone(who: Who): void;
}

/** Nothing is asked yet. */
export function createQuestions<Who, Answer>(): Questions<Who, Answer> {
  const open = new Map<number, { readonly who: Who; readonly resolve: (answer?: Answer) => void }>();
  let lastId = 0;
  return {
    ask(who, put, patienceMs) {
      lastId += 1;
      const id = lastId;
      return new Promise((resolve) => {
        const timer = setTimeout(done, patienceMs, undefined);
        function done(answer?: Answer): void {
          clearTimeout(timer);
          open.delete(id);
          resolve(answer);
        }
        open.set(id, { who, resolve: done });
        put(id);
      });
    },
    answered(id, answer) {
      open.get(id)?.resolve(answer);
    },
    gone(who) {
      for (const each of [...open.values()]) if (each.who === who) each.resolve();
    },
  };
}
