// The npm package openai, by the name it is installed under: openai (6) or openai4.
import { assert, callArguments, callMessage, check, city, echo, isEmbedding, joined, ledger, left, model, one, other, picture, reached, settled, spy, thrown, token } from './pool.mjs';

const { default: OpenAI } = await import(process.argv[2]);

const at = (node, more) => new OpenAI({ baseURL: `${node}/v1`, apiKey: token, maxRetries: 0, ...more });
const say = (scene, content = 'hello') => ({ model: model(scene), messages: [{ role: 'user', content }] });
const delta = (event) => event.choices[0]?.delta?.content;
const whole = (node, scene, more) => at(node).chat.completions.create(say(scene), more);
const stream = async (node, scene) => joined(await at(node).chat.completions.create({ ...say(scene), stream: true }), delta);

await check('a chat is answered whole', async () => {
  const seen = spy();
  const got = await at(one, { fetch: seen.fetch }).chat.completions.create(say('good'));
  assert.equal(got.choices[0].message.content, echo('hello'));
  assert.equal(got.choices[0].finish_reason, 'stop');
  assert.equal(got.usage.total_tokens, 3);
  assert.ok(got._request_id);
  await reached('good', seen.calls[0].body);
});

await check('a chat is streamed', async () => {
  const { data, response, request_id } = await at(other).chat.completions
    .create({ ...say('good'), stream: true, stream_options: { include_usage: true } }).withResponse();
  let usage;
  assert.equal(await joined(data, (event) => ((usage = event.usage ?? usage), delta(event))), echo('hello'));
  assert.equal(usage.total_tokens, 3);
  assert.ok(request_id);
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
});

const tools = [{ type: 'function', function: { name: 'weather', parameters: city } }];

await check('a tool is called, and its result answered', async () => {
  const ask = { ...say('good', callMessage), tools };
  const { message, finish_reason } = (await at(other).chat.completions.create(ask)).choices[0];
  assert.equal(finish_reason, 'tool_calls');
  const [call] = message.tool_calls;
  assert.equal(call.function.name, 'weather');
  assert.deepEqual(JSON.parse(call.function.arguments), callArguments);
  const seen = spy();
  ask.messages.push(message, { role: 'tool', tool_call_id: call.id, content: 'sun' });
  const next = await at(one, { fetch: seen.fetch }).chat.completions.create(ask);
  assert.equal(next.choices[0].message.content, echo(callMessage));
  await reached('good', seen.calls[0].body);
});

await check('a tool call is streamed', async () => {
  let name = '', text = '', finish;
  for await (const event of await at(one).chat.completions.create({ ...say('good', callMessage), tools, stream: true })) {
    for (const call of event.choices[0]?.delta?.tool_calls ?? []) {
      name += call.function?.name ?? '';
      text += call.function?.arguments ?? '';
    }
    finish = event.choices[0]?.finish_reason ?? finish;
  }
  assert.equal(name, 'weather');
  assert.deepEqual(JSON.parse(text), callArguments);
  assert.equal(finish, 'tool_calls');
});

await check('a picture passes as it is', async () => {
  const seen = spy();
  const url = `data:image/png;base64,${picture}`;
  const got = await at(one, { fetch: seen.fetch }).chat.completions
    .create(say('good', [{ type: 'text', text: 'what is this?' }, { type: 'image_url', image_url: { url } }]));
  assert.equal(got.choices[0].message.content, echo('what is this?'));
  assert.ok(seen.calls[0].body.includes(picture));
  await reached('good', seen.calls[0].body);
});

await check('embeddings come as base64 and as numbers', async () => {
  const seen = spy();
  const ask = { model: model('good'), input: ['a', 'b'] };
  const packed = await at(one, { fetch: seen.fetch }).embeddings.create(ask);
  assert.equal(JSON.parse(seen.calls[0].body).encoding_format, 'base64');
  const plain = await at(other).embeddings.create({ ...ask, encoding_format: 'float' });
  assert.ok(packed.data.every((d) => isEmbedding(Array.from(d.embedding))));
  assert.deepEqual(packed.data.map((d) => Array.from(d.embedding)), plain.data.map((d) => d.embedding));
});

await check('the models are listed, and one is told', async () => {
  const ids = [];
  for await (const m of at(one).models.list()) ids.push(m.id);
  assert.ok(ids.includes(model('good')));
  assert.equal((await at(other).models.retrieve(model('good'))).id, model('good'));
  assert.ok((await thrown(at(one).models.retrieve('no/such'))) instanceof OpenAI.NotFoundError);
});

await check('a text is completed, whole and as a stream', async () => {
  const ask = { model: model('good'), prompt: 'once' };
  assert.equal((await at(one).completions.create(ask)).choices[0].text, echo('once'));
  assert.equal(await joined(await at(other).completions.create({ ...ask, stream: true }), (e) => e.choices[0]?.text), echo('once'));
});

await check('a response is made, whole and as a stream', async () => {
  const ask = { model: model('good'), input: 'hi' };
  assert.equal((await at(other).responses.create(ask)).output_text, echo('hi'));
  const types = [];
  const text = await joined(await at(one).responses.create({ ...ask, stream: true }),
    (e) => (types.push(e.type), e.type === 'response.output_text.delta' ? e.delta : ''));
  assert.equal(text, echo('hi'));
  assert.equal(types.at(-1), 'response.completed');
});

await check('a response calls a tool, whole and as a stream', async () => {
  const ask = { model: model('good'), input: callMessage, tools: [{ type: 'function', name: 'weather', parameters: city, strict: false }] };
  const call = (await at(one).responses.create(ask)).output[0];
  assert.equal(call.type, 'function_call');
  assert.deepEqual(JSON.parse(call.arguments), callArguments);
  const text = await joined(await at(other).responses.create({ ...ask, stream: true }),
    (e) => (e.type === 'response.function_call_arguments.delta' ? e.delta : ''));
  assert.deepEqual(JSON.parse(text), callArguments);
});

await check('who leaves before the answer ends the attempt', async () => {
  const e = await left('silent', (signal) => whole(one, 'silent', { signal }));
  assert.ok(e instanceof OpenAI.APIUserAbortError);
});

await check('who leaves a stream ends it at the upstream', async () => {
  const events = await at(other).chat.completions.create({ ...say('slow'), stream: true });
  let text = '';
  for await (const event of events) {
    text += delta(event) ?? '';
    if (text) events.controller.abort();
  }
  assert.ok(text.length < echo('hello').length, 'nothing was left to leave');
  await settled('slow', 'canceled');
});

await check('a wrong token is an AuthenticationError', async () => {
  for (const node of [one, other]) {
    const e = await thrown(at(node, { apiKey: 'sk-pool-nonsense' }).chat.completions.create(say('good')));
    assert.ok(e instanceof OpenAI.AuthenticationError, e);
    assert.equal(e.code, 'invalid_api_key');
    assert.ok(e.requestID ?? e.request_id);
  }
});

await check('a model that nobody has is a NotFoundError', async () => {
  for (const [node, ask] of [[one, say('gone')], [other, { ...say('gone'), stream: true }], [one, { ...say('gone'), model: 'no/such' }]]) {
    const e = await thrown(at(node).chat.completions.create(ask));
    assert.ok(e instanceof OpenAI.NotFoundError, e);
    assert.equal(e.code, 'model_not_found');
  }
});

await check('a refused request is a BadRequestError in the upstream\'s words', async () => {
  for (const e of [await thrown(whole(one, 'refused')), await thrown(stream(other, 'refused'))]) {
    assert.ok(e instanceof OpenAI.BadRequestError, e);
    assert.match(e.message, /Bad Request/);
  }
  assert.equal((await ledger('refused')).length, 2);
});

await check('limited keys are a RateLimitError', async () => {
  for (const e of [await thrown(whole(one, 'limited')), await thrown(stream(other, 'limited'))]) {
    assert.ok(e instanceof OpenAI.RateLimitError, e);
    assert.equal(e.code, 'rate_limit_exceeded');
    assert.doesNotMatch(e.message, /quota/);
    const wait = Number((e.headers.get?.('retry-after') ?? e.headers['retry-after']));
    assert.ok(wait >= 1 && wait <= 60, `Retry-After: ${wait}`);
  }
});

await check('dead keys are no fault of the client, who does not try again', async () => {
  const seen = spy();
  const e = await thrown(at(one, { maxRetries: 2, fetch: seen.fetch }).chat.completions.create(say('dead')));
  assert.ok(e instanceof OpenAI.InternalServerError, e);
  assert.equal(e.status, 503);
  assert.equal(e.code, 'upstream_credentials_exhausted');
  assert.equal(seen.calls.length, 1);
});

await check('who is told to wait is answered then', async () => {
  const seen = spy();
  const got = await at(other, { maxRetries: 1, fetch: seen.fetch }).chat.completions.create(say('cooling'));
  assert.equal(got.choices[0].message.content, echo('hello'));
  assert.deepEqual(seen.calls.map((c) => c.status), [429, 200]);
});

await check('a cut answer is no success', async () => {
  const e = await thrown(whole(one, 'cut'));
  assert.ok(e instanceof OpenAI.InternalServerError, e);
  assert.equal(e.status, 502);
  await thrown(stream(other, 'cut'));
});

await check('an answer that ends early is no success', async () => {
  const e = await thrown(whole(other, 'early'));
  assert.ok(e instanceof OpenAI.InternalServerError, e);
  await thrown(stream(one, 'early'));
});

await check('a stream that breaks is an error in the upstream\'s words', async () => {
  const e = await thrown(stream(one, 'breaks'));
  assert.ok(e instanceof OpenAI.APIError, e);
  assert.match(e.message, /rate limit exceeded/);
});

await check('a response that breaks is no success', async () => {
  const e = await thrown(joined(await at(other).responses.create({ model: model('breaks'), input: 'hi', stream: true }), (event) => {
    if (event.type === 'response.failed' || event.type === 'error') throw new Error(event.type);
  }));
  assert.match(String(e), /response.failed|error/);
});

await check('a dead key is passed over unseen', async () => {
  const got = await whole(one, 'failover');
  assert.equal(got.choices[0].message.content, echo('hello'));
  assert.deepEqual((await ledger('failover')).map((e) => e.status), [401, 200]);
});

await check('a stream that begins with an error is made good unseen', async () => {
  assert.equal(await stream(other, 'stumbles'), echo('hello'));
  assert.deepEqual((await ledger('stumbles')).map((e) => e.outcome), ['broken', 'completed']);
});
