// Asks the pool by the npm client as a user's program does: once whole, once as a stream, once with a wrong token.
// Prints one JSON line for the test that runs it.
import OpenAI from 'openai';

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'hello' }];

const whole = await client.chat.completions.create({ model, messages });

let text = '';
let finish = null;
for await (const event of await client.chat.completions.create({ model, messages, stream: true })) {
  text += event.choices[0]?.delta?.content ?? '';
  finish = event.choices[0]?.finish_reason ?? finish;
}

const models = [];
for await (const m of client.models.list()) models.push(m.id);

const refused = await new OpenAI({ baseURL, apiKey: 'sk-pool-nonsense', maxRetries: 0 }).models
  .list()
  .catch((e) => ({ name: e.constructor.name, status: e.status, code: e.code, requestID: Boolean(e.requestID) }));

console.log(JSON.stringify({ whole: whole.choices[0].message.content, stream: text, finish, models, refused }));
