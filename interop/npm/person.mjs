// A person with a browser that keeps cookies and runs no script, and the steps
// that a program reports.

import { readFileSync } from 'node:fs'

// server is what the server printed when it was ready; it comes on standard
// input, so that no secret is on a command line.
export const server = JSON.parse(readFileSync(0, 'utf8'))

export const callback = 'http://127.0.0.1:9/callback'
export const home = 'http://127.0.0.1:9/'

export function registration(id) {
  return server.clients.find((c) => c.client_id === id)
}

// step runs f and prints how it went; what fails ends the program.
export async function step(name, f) {
  try {
    const value = await f()
    console.log(`ok ${name}`)
    return value
  } catch (err) {
    console.log(`FAIL ${name}: ${err.code ?? ''} ${err.message} ${err.cause ? JSON.stringify(err.cause, shown) : ''}`)
    process.exit(1)
  }
}

// shown keeps tokens out of what is printed.
function shown(key, value) {
  return /token|code|secret/.test(key) ? '…' : value
}

export function check(ok, what) {
  if (!ok) throw new Error(what)
}

// refused checks that f is refused with an OAuth error code.
export async function refused(f, code) {
  try {
    await f()
  } catch (err) {
    check(err.error === code, `refused with ${err.error ?? err.message}, want ${code}`)
    return
  }
  throw new Error(`not refused, want ${code}`)
}

export class Person {
  #cookies = new Map()

  // authorize goes through an authorization request and returns the address at
  // which the browser ends.
  async authorize(address, username) {
    let page = await this.open(address)
    if (!page.away) {
      const { password } = server.users.find((u) => u.username === username)
      page = await this.submit(page, 'password', { username, password })
    }
    if (!page.away) page = await this.submit(page, 'decision', { decision: 'allow' })
    check(page.away, `no redirect to the client but a page (${page.status})`)
    return page.away
  }

  // signOut follows a sign-out address, and confirms where that is asked for.
  async signOut(address) {
    let page = await this.open(address)
    if (!page.away) page = await this.submit(page, '', {})
    check(page.away, `no redirect to the client but a page (${page.status})`)
    return page.away
  }

  open(address) {
    return this.#follow(new URL(address), { method: 'GET' })
  }

  // submit posts the first form with a field or button of that name.
  submit(page, has, fill) {
    for (const [, attributes, inside] of page.body.matchAll(/<form([^>]*)>(.*?)<\/form>/gs)) {
      const fields = new URLSearchParams()
      const names = new Set()
      for (const [, tag, rest] of inside.matchAll(/<(input|button)([^>]*)>/gs)) {
        const at = attributesOf(rest)
        if (!at.name) continue
        names.add(at.name)
        if (tag === 'input' && at.type !== 'checkbox') fields.set(at.name, at.value ?? '')
      }
      if (has && !names.has(has)) continue
      for (const [name, value] of Object.entries(fill)) {
        check(names.has(name), `the form has no field ${name}`)
        fields.set(name, value)
      }
      const form = attributesOf(attributes)
      check(form.method?.toLowerCase() === 'post', `the form has method ${form.method}`)
      return this.#follow(new URL(form.action, page.url), {
        method: 'POST',
        body: fields,
        headers: { origin: page.url.origin },
      })
    }
    throw new Error(`no form with ${has || 'anything'} on ${page.url.pathname} (${page.status})`)
  }

  // #follow follows redirects as long as they stay on the server.
  async #follow(url, request) {
    for (let hops = 0; hops < 10; hops++) {
      const headers = { ...request.headers, cookie: [...this.#cookies].map(([k, v]) => `${k}=${v}`).join('; ') }
      const response = await fetch(url, { ...request, headers, redirect: 'manual' })
      for (const line of response.headers.getSetCookie()) this.#keep(line)
      const body = await response.text()
      const location = response.headers.get('location')
      if (!location) return { url, status: response.status, body }
      const to = new URL(location, url)
      if (to.origin !== server.issuer) return { away: to }
      url = to
      request = { method: 'GET' }
    }
    throw new Error('redirected too often')
  }

  #keep(line) {
    const [pair, ...attributes] = line.split(';').map((s) => s.trim())
    const cut = pair.indexOf('=')
    const name = pair.slice(0, cut)
    const over = attributes.some((a) => /^max-age=(0|-)/i.test(a))
    if (over) this.#cookies.delete(name)
    else this.#cookies.set(name, pair.slice(cut + 1))
  }
}

function attributesOf(tag) {
  const all = {}
  for (const [, name, value] of tag.matchAll(/([\w-]+)="([^"]*)"/g)) all[name] = unescape(value)
  return all
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"' }

function unescape(text) {
  return text.replace(/&(?:#(\d+)|(\w+));/g, (all, code, name) => (code ? String.fromCodePoint(code) : (entities[name] ?? all)))
}

// gone waits until the API refuses a token, and returns how many milliseconds
// after from that was. Ask makes a request and returns the status.
export async function gone(ask, from) {
  for (;;) {
    const status = await ask()
    const after = performance.now() - from
    if (status === 401) return after
    check(after < 10_000, `the API answers ${status} after ${after} ms`)
  }
}
