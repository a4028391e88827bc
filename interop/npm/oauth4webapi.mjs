// Drives the server with oauth4webapi as a client author would: only plain HTTP
// on the loopback address is allowed beyond the defaults of the library.
//
// usage: node oauth4webapi.mjs CLIENT_ID [dpop] < ready.json

import * as oauth from 'oauth4webapi'
import { Person, callback, check, gone, home, refused, registration, server, step } from './person.mjs'

const me = registration(process.argv[2])
const api = registration('demo-api')
const client = { client_id: me.client_id }
const authentication = me.client_secret ? oauth.ClientSecretBasic(me.client_secret) : oauth.None()
// With a handle every request shows a proof of the same key.
const withProof = process.argv[3] === 'dpop'
const proof = withProof ? { DPoP: oauth.DPoP(client, await oauth.generateKeyPair('ES256')) } : {}
const kind = withProof ? 'dpop' : 'bearer'
const insecure = { [oauth.allowInsecureRequests]: true }
const http = { ...insecure, ...proof }
const person = new Person()

const issuer = new URL(server.issuer)
const as = await step('discovery', async () =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure)),
)
await step('discovery (RFC 8414)', async () => {
  const found = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' }))
  check(JSON.stringify(found) === JSON.stringify(as), 'the two documents differ')
})

// again does f, and once more if the server asks for a nonce: the library has
// remembered it by then.
async function again(f) {
  try {
    return await f()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return f()
  }
}

async function tokens() {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const nonce = oauth.generateRandomNonce()
  const parameters = new URLSearchParams({
    redirect_uri: callback,
    response_type: 'code',
    scope: 'openid profile email offline_access orders:read',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  })
  const pushed = await step('pushed authorization request', () =>
    again(async () =>
      oauth.processPushedAuthorizationResponse(
        as,
        client,
        await oauth.pushedAuthorizationRequest(as, client, authentication, parameters, http),
      ),
    ),
  )
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({ client_id: me.client_id, request_uri: pushed.request_uri })
  const landed = await step('sign-in', () => person.authorize(url, 'ada'))
  return step('code flow', async () => {
    const answer = oauth.validateAuthResponse(as, client, landed, state)
    const { t, response } = await again(async () => {
      const response = await oauth.authorizationCodeGrantRequest(as, client, authentication, answer, callback, verifier, http)
      const expected = { expectedNonce: nonce, requireIdToken: true, maxAge: 600 }
      return { t: await oauth.processAuthorizationCodeResponse(as, client, response, expected), response }
    })
    await oauth.validateApplicationLevelSignature(as, response, insecure)
    check(t.refresh_token && t.token_type === kind && t.expires_in > 60, 'the token answer lacks something')
    return t
  })
}

const first = await tokens()
const { sub } = oauth.getValidatedIdTokenClaims(first)

await step('userinfo', async () => {
  const info = await again(async () =>
    oauth.processUserInfoResponse(as, client, sub, await oauth.userInfoRequest(as, client, first.access_token, http)),
  )
  check(info.email === 'ada@example.com' && info.preferred_username === 'ada', 'claims are missing')
})

if (!withProof) {
  await step('access token (RFC 9068)', async () => {
    const request = new Request(`${server.api}/me`, { headers: { authorization: `Bearer ${first.access_token}` } })
    const claims = await oauth.validateJwtAccessToken(as, request, 'demo-api', insecure)
    check(claims.sub === sub && claims.client_id === me.client_id, 'the claims are wrong')
  })
}

function refresh(token, options) {
  return again(async () => {
    const response = await oauth.refreshTokenGrantRequest(as, client, authentication, token, options)
    return oauth.processRefreshTokenResponse(as, client, response)
  })
}

const second = await step('refresh', async () => {
  const t = await refresh(first.refresh_token, http)
  const keeps = withProof && !!me.client_secret // FAPI 2.0 Security Profile, section 5.3.2.1
  check((t.refresh_token === first.refresh_token) === keeps && t.access_token !== first.access_token, 'the wrong tokens again')
  check(oauth.getValidatedIdTokenClaims(t).sub === sub, 'another subject')
  return t
})

function call(path, access) {
  return again(() => oauth.protectedResourceRequest(access, 'GET', new URL(server.api + path), undefined, undefined, http))
}

await step('protected resource', async () => {
  const res = await call('/orders', second.access_token)
  check(res.status === 200 && (await res.json()).sub === sub, `status ${res.status}`)
})

const resource = { client_id: api.client_id }

async function introspect(token) {
  const response = await oauth.introspectionRequest(as, resource, oauth.ClientSecretBasic(api.client_secret), token, insecure)
  return oauth.processIntrospectionResponse(as, resource, response)
}

await step('introspection', async () => {
  const a = await introspect(second.access_token)
  check(a.active && a.sub === sub && a.client_id === me.client_id && a.scope.includes('orders:read'), JSON.stringify(a))
  check(withProof ? a.token_type === 'DPoP' && a.cnf.jkt === await proof.DPoP.calculateThumbprint() : !a.cnf, JSON.stringify(a))
})

await step('revocation', async () => {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, second.refresh_token, insecure))
  const from = performance.now()
  const a = await introspect(second.access_token)
  check(a.active === false && Object.keys(a).length === 1, JSON.stringify(a))
  await refused(() => refresh(second.refresh_token, http), 'invalid_grant')
  const after = await gone(async () => {
    try {
      return (await call('/me', second.access_token)).status
    } catch (err) {
      return err.status // a challenge is an error here
    }
  }, from)
  check(after <= 1000, `the API refused after ${after} ms`)
})

const third = await tokens()

if (withProof) {
  await step('bound', async () => {
    await refused(() => refresh(third.refresh_token, insecure), 'invalid_grant')
    const other = { ...insecure, DPoP: oauth.DPoP(client, await oauth.generateKeyPair('Ed25519')) }
    if (me.client_secret) await refresh(third.refresh_token, other)
    else await refused(() => refresh(third.refresh_token, other), 'invalid_grant')
  })
}

await step('end session', async () => {
  const url = new URL(as.end_session_endpoint)
  url.search = new URLSearchParams({
    client_id: me.client_id,
    id_token_hint: third.id_token,
    post_logout_redirect_uri: home,
    state: 'bye',
  })
  const landed = await person.signOut(url)
  check(landed.origin + landed.pathname === home && landed.searchParams.get('state') === 'bye', 'another address')
})

await step('signed out', async () => {
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    client_id: me.client_id,
    redirect_uri: callback,
    response_type: 'code',
    scope: 'openid',
    prompt: 'none',
    code_challenge: await oauth.calculatePKCECodeChallenge(oauth.generateRandomCodeVerifier()),
    code_challenge_method: 'S256',
    state,
  })
  const landed = await person.authorize(url, 'ada')
  await refused(async () => oauth.validateAuthResponse(as, client, landed, state), 'login_required')
})

if (me.client_secret) {
  const service = registration('demo-service')
  await step('client credentials', async () => {
    const own = { client_id: service.client_id }
    const response = await oauth.clientCredentialsGrantRequest(
      as,
      own,
      oauth.ClientSecretPost(service.client_secret),
      { scope: 'orders:read' },
      http,
    )
    const t = await oauth.processClientCredentialsResponse(as, own, response)
    check(t.access_token && !t.refresh_token, 'the token answer is wrong')
  })
}
