// A client with a jar of cookies that opens a connection for each request, as `curl -b jar -c jar` does.
import { request } from "node:http";

export class Jar {
  cookies = new Map();

  constructor(url) {
    this.url = url;
  }

  get header() {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  async ask(method, path, body = "", headers = {}) {
    const cookie = this.cookies.size > 0 ? { Cookie: this.header } : {};
    const answer = await new Promise((answered, failed) => {
      const asked = request(this.url + path, { method, agent: false, headers: { ...cookie, ...headers } }, answered);
      asked.on("error", failed).end(body);
    });
    let text = "";
    for await (const chunk of answer.setEncoding("utf8")) text += chunk;
    for (const line of answer.headers["set-cookie"] ?? []) this.#keep(line);
    return { status: answer.statusCode, headers: answer.headers, text };
  }

  async json(method, path, body, headers) {
    const { status, text } = await this.ask(method, path, body, headers);
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${method} ${path}: ${status} ${text.slice(0, 200)}`);
    }
  }

  #keep(line) {
    const [pair, ...attributes] = line.split(";");
    const [name, ...value] = pair.trim().split("=");
    const gone = attributes.some((each) => /^\s*max-age=(0|-\d+)\s*$/i.test(each) || /^\s*expires=.*1970/i.test(each));
    if (gone) this.cookies.delete(name);
    else this.cookies.set(name, value.join("="));
  }
}
