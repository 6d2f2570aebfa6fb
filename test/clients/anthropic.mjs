// The npm package @anthropic-ai/sdk, by the name it is installed under. The current one sends its key as a bearer token, the
// old one (anthropic0) as x-api-key.
import { assert, callArguments, callMessage, check, city, echo, joined, ledger, left, model, one, other, picture, reached, settled, spy, thrown, token } from './pool.mjs';

const { default: Anthropic } = await import(process.argv[2]);

const at = (node, more) => new Anthropic({ baseURL: node, apiKey: token, maxRetries: 0, ...more });
const say = (scene, content = 'hello') => ({ model: model(scene), max_tokens: 99, messages: [{ role: 'user', content }] });
const delta = (event) => event.delta?.text;
const whole = (node, scene, more) => at(node).messages.create(say(scene), more);
const stream = async (node, scene) => joined(await at(node).messages.create({ ...say(scene), stream: true }), delta);

await check('a message is answered whole', async () => {
  const seen = spy();
  const got = await at(one, { fetch: seen.fetch }).messages.create({ ...say('good'), system: 'be brief' });
  assert.equal(got.content[0].text, echo('hello'));
  assert.equal(got.stop_reason, 'end_turn');
  assert.deepEqual([got.usage.input_tokens, got.usage.output_tokens], [3, 2]);
  assert.ok(seen.calls[0].headers.get('x-request-id'));
  await reached('good', seen.calls[0].body);
});

await check('a message is streamed', async () => {
  const { data, response } = await at(other).messages.create({ ...say('good'), stream: true }).withResponse();
  const types = [];
  assert.equal(await joined(data, (event) => (types.push(event.type), delta(event))), echo('hello'));
  assert.deepEqual([types[0], types.at(-1)], ['message_start', 'message_stop']);
  assert.ok(response.headers.get('x-request-id'));
});

await check('the library puts a stream together', async () => {
  const got = await at(one).messages.stream(say('good')).finalMessage();
  assert.equal(got.content[0].text, echo('hello'));
});

const tools = [{ name: 'weather', input_schema: city }];

await check('a tool is called, and its result answered', async () => {
  const ask = { ...say('good', callMessage), tools };
  const got = await at(other).messages.create(ask);
  assert.equal(got.stop_reason, 'tool_use');
  const [call] = got.content;
  assert.deepEqual([call.type, call.name, call.input], ['tool_use', 'weather', callArguments]);
  ask.messages.push({ role: 'assistant', content: got.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'sun' }, { type: 'text', text: 'so?' }] });
  const seen = spy();
  const next = await at(one, { fetch: seen.fetch }).messages.create(ask);
  assert.equal(next.content[0].text, echo('so?'));
  await reached('good', seen.calls[0].body);
});

await check('a tool call is streamed', async () => {
  const got = await at(one).messages.stream({ ...say('good', callMessage), tools }).finalMessage();
  assert.equal(got.stop_reason, 'tool_use');
  assert.deepEqual([got.content[0].name, got.content[0].input], ['weather', callArguments]);
});

await check('a picture passes as it is', async () => {
  const seen = spy();
  const source = { type: 'base64', media_type: 'image/png', data: picture };
  const got = await at(one, { fetch: seen.fetch }).messages
    .create(say('good', [{ type: 'image', source }, { type: 'text', text: 'what is this?' }]));
  assert.equal(got.content[0].text, echo('what is this?'));
  assert.ok(seen.calls[0].body.includes(picture));
  await reached('good', seen.calls[0].body);
});

await check('tokens are counted', async () => {
  const { max_tokens, ...ask } = say('good', 'one two three');
  assert.equal((await at(other).messages.countTokens(ask)).input_tokens, 3);
});

await check('who leaves before the answer ends the attempt', async () => {
  const e = await left('silent', (signal) => whole(one, 'silent', { signal }));
  assert.ok(e instanceof Anthropic.APIUserAbortError);
});

await check('who leaves a stream ends it at the upstream', async () => {
  const events = at(other).messages.stream(say('slow'));
  events.on('text', () => events.abort());
  assert.ok((await thrown(events.finalMessage())) instanceof Anthropic.APIUserAbortError);
  await settled('slow', 'canceled');
});

await check('a wrong token is an AuthenticationError', async () => {
  for (const node of [one, other]) {
    const e = await thrown(at(node, { apiKey: 'sk-pool-nonsense' }).messages.create(say('good')));
    assert.ok(e instanceof Anthropic.AuthenticationError, e);
    assert.equal(e.error.error.type, 'authentication_error');
  }
});

await check('a model that nobody has is a NotFoundError', async () => {
  for (const [node, ask] of [[one, say('gone')], [other, { ...say('gone'), stream: true }], [one, { ...say('gone'), model: 'no/such' }]]) {
    const e = await thrown(at(node).messages.create(ask));
    assert.ok(e instanceof Anthropic.NotFoundError, e);
    assert.equal(e.error.error.type, 'not_found_error');
  }
});

await check('a refused request is a BadRequestError in the upstream\'s words', async () => {
  for (const e of [await thrown(whole(one, 'refused')), await thrown(stream(other, 'refused'))]) {
    assert.ok(e instanceof Anthropic.BadRequestError, e);
    assert.equal(e.error.error.type, 'invalid_request_error');
    assert.match(e.message, /Bad Request/);
  }
  assert.equal((await ledger('refused')).length, 2);
});

await check('limited keys are a RateLimitError', async () => {
  for (const e of [await thrown(whole(one, 'limited')), await thrown(stream(other, 'limited'))]) {
    assert.ok(e instanceof Anthropic.RateLimitError, e);
    assert.equal(e.error.error.type, 'rate_limit_error');
    const wait = Number(e.headers.get('retry-after'));
    assert.ok(wait >= 1 && wait <= 60, `Retry-After: ${wait}`);
  }
});

await check('dead keys are no fault of the client, who does not try again', async () => {
  const seen = spy();
  const e = await thrown(at(one, { maxRetries: 2, fetch: seen.fetch }).messages.create(say('dead')));
  assert.ok(e instanceof Anthropic.InternalServerError, e);
  assert.equal(e.status, 503);
  assert.equal(seen.calls.length, 1);
});

await check('a cut answer is no success', async () => {
  const e = await thrown(whole(one, 'cut'));
  assert.ok(e instanceof Anthropic.InternalServerError, e);
  assert.equal(e.status, 502);
  await thrown(stream(other, 'cut'));
});

await check('an answer that ends early is no success', async () => {
  const e = await thrown(whole(other, 'early'));
  assert.ok(e instanceof Anthropic.InternalServerError, e);
  await thrown(stream(one, 'early'));
});

await check('a stream that breaks is an error in the upstream\'s words', async () => {
  const e = await thrown(stream(one, 'breaks'));
  assert.ok(e instanceof Anthropic.APIError, e);
  assert.match(e.message, /rate limit exceeded/);
});

await check('a dead key is passed over unseen', async () => {
  assert.equal((await whole(one, 'failover')).content[0].text, echo('hello'));
  assert.deepEqual((await ledger('failover')).map((e) => e.status), [401, 200]);
});

await check('a stream that begins with an error is made good unseen', async () => {
  assert.equal(await stream(other, 'stumbles'), echo('hello'));
  assert.deepEqual((await ledger('stumbles')).map((e) => e.outcome), ['broken', 'completed']);
});
