// Drives the server with openid-client as an application would: only plain HTTP
// on the loopback address is allowed beyond the defaults of the library.
//
// usage: node openid-client.mjs CLIENT_ID [dpop] < ready.json

import * as client from 'openid-client'
import { Person, callback, check, gone, home, refused, registration, server, step } from './person.mjs'

const me = registration(process.argv[2])
const api = registration('demo-api')
const person = new Person()

function discover({ client_id, client_secret }) {
  // A client with a secret authenticates as the library does by default.
  return client.discovery(new URL(server.issuer), client_id, client_secret, client_secret ? undefined : client.None(), {
    execute: [client.allowInsecureRequests],
  })
}

const config = await step('discovery', () => discover(me))
// With a handle every request of the library shows a proof of the same key.
const withProof = process.argv[3] === 'dpop'
const proof = withProof ? { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256')) } : undefined
const kind = withProof ? 'dpop' : 'bearer'
client.enableNonRepudiationChecks(config) // signatures too, not only TLS

async function tokens() {
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const url = await step('pushed authorization request', async () =>
    client.buildAuthorizationUrlWithPAR(config, {
      redirect_uri: callback,
      scope: 'openid profile email offline_access orders:read',
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    }, proof),
  )
  check(url.searchParams.has('request_uri') && !url.searchParams.has('state'), 'the request was not pushed')
  const landed = await step('sign-in', () => person.authorize(url, 'ada'))
  return step('code flow', async () => {
    const expected = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true }
    const t = await client.authorizationCodeGrant(config, landed, expected, undefined, proof)
    check(t.refresh_token && t.token_type === kind && t.expiresIn() > 60, 'the token answer lacks something')
    return t
  })
}

const first = await tokens()
const { sub } = first.claims()

await step('userinfo', async () => {
  const info = await client.fetchUserInfo(config, first.access_token, sub, proof)
  check(info.email === 'ada@example.com' && info.preferred_username === 'ada', 'claims are missing')
})

const second = await step('refresh', async () => {
  const t = await client.refreshTokenGrant(config, first.refresh_token, undefined, proof)
  const keeps = withProof && !!me.client_secret // FAPI 2.0 Security Profile, section 5.3.2.1
  check((t.refresh_token === first.refresh_token) === keeps && t.access_token !== first.access_token, 'the wrong tokens again')
  check(t.claims().sub === sub, 'another subject')
  return t
})

function resource(path, access) {
  return client.fetchProtectedResource(config, access, new URL(server.api + path), 'GET', undefined, undefined, proof)
}

await step('protected resource', async () => {
  const res = await resource('/orders', second.access_token)
  check(res.status === 200 && (await res.json()).sub === sub, `status ${res.status}`)
})

const apiConfig = await step('discovery as the API', () => discover(api))

await step('introspection', async () => {
  const a = await client.tokenIntrospection(apiConfig, second.access_token)
  check(a.active && a.sub === sub && a.client_id === me.client_id && a.scope.includes('orders:read'), JSON.stringify(a))
  check(withProof ? a.token_type === 'DPoP' && a.cnf.jkt === await proof.DPoP.calculateThumbprint() : !a.cnf, JSON.stringify(a))
})

await step('revocation', async () => {
  await client.tokenRevocation(config, second.refresh_token, { token_type_hint: 'refresh_token' })
  const from = performance.now()
  const a = await client.tokenIntrospection(apiConfig, second.access_token)
  check(a.active === false && Object.keys(a).length === 1, JSON.stringify(a))
  await refused(() => client.refreshTokenGrant(config, second.refresh_token, undefined, proof), 'invalid_grant')
  const after = await gone(async () => {
    try {
      return (await resource('/me', second.access_token)).status
    } catch (err) {
      return err.status // a challenge is an error here
    }
  }, from)
  check(after <= 1000, `the API refused after ${after} ms`)
})

const third = await tokens()

if (withProof) {
  await step('bound', async () => {
    await refused(() => client.refreshTokenGrant(config, third.refresh_token), 'invalid_grant')
    const other = { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair('Ed25519')) }
    if (me.client_secret) await client.refreshTokenGrant(config, third.refresh_token, undefined, other)
    else await refused(() => client.refreshTokenGrant(config, third.refresh_token, undefined, other), 'invalid_grant')
  })
}

await step('end session', async () => {
  const url = client.buildEndSessionUrl(config, { id_token_hint: third.id_token, post_logout_redirect_uri: home, state: 'bye' })
  const landed = await person.signOut(url)
  check(landed.origin + landed.pathname === home && landed.searchParams.get('state') === 'bye', 'another address')
})

await step('signed out', async () => {
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: callback,
    scope: 'openid',
    prompt: 'none',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
  })
  const landed = await person.authorize(url, 'ada')
  await refused(
    () => client.authorizationCodeGrant(config, landed, { pkceCodeVerifier: verifier, expectedState: state }),
    'login_required',
  )
})

if (me.client_secret) {
  const service = await step('discovery as a service', () => discover(registration('demo-service')))
  await step('client credentials', async () => {
    const t = await client.clientCredentialsGrant(service, { scope: 'orders:read' }, proof)
    check(t.access_token && !t.refresh_token && t.token_type === kind, 'the token answer is wrong')
  })
}
