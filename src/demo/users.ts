/** A user of the demo identity provider, and what its tokens will say about how they signed in. */
export interface DemoUser {
  /** `sub`, and the value of the chooser's button. */
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly username: string;
  readonly groups: readonly string[];
  /** What the user is imagined to have done, in plain words. */
  readonly method: string;
  /** What to expect of Sallyport, in plain words. */
  readonly expectation: string;
  readonly admitted: boolean;
  /** `amr` of the ID token; undefined: the identity provider says nothing. */
  readonly amr: readonly string[] | undefined;
  /** `acr` of the ID token. */
  readonly acr: string | undefined;
}

/** `acr` of a demo sign-in with two factors. */
export const acrOfTwoFactors = 'urn:sallyport-demo:two-factors';
/** `acr` of a demo sign-in with one. */
export const acrOfOneFactor = 'urn:sallyport-demo:one-factor';

/** Who runs the demo's Sallyport: may see its status, and try a sign-in by the canary. */
export const demoOperator: DemoUser = {
  id: 'alice',
  name: 'Alice Archer',
  email: 'alice@demo.example',
  username: 'alice',
  groups: ['developers', 'forge-admins'],
  method: 'Password and one-time code',
  expectation: 'gets in, and is an operator: sees status and canary',
  admitted: true,
  amr: ['pwd', 'otp', 'mfa'],
  acr: acrOfTwoFactors,
};

/** Those who can be chosen on the demo identity provider's page, in its order. */
export const demoUsers: readonly DemoUser[] = [
  demoOperator,
  {
    id: 'carol',
    name: 'Carol Çelik',
    email: 'carol@demo.example',
    username: 'carol',
    groups: ['developers'],
    method: 'Passkey with fingerprint',
    expectation: 'gets in: a key and a finger are two kinds of factor',
    admitted: true,
    amr: ['hwk', 'fpt'],
    acr: acrOfTwoFactors,
  },
  {
    id: 'bob',
    name: 'Bob Baker',
    email: 'bob@demo.example',
    username: 'bob',
    groups: ['developers'],
    method: 'Password only',
    expectation: 'is refused',
    admitted: false,
    amr: ['pwd'],
    acr: acrOfOneFactor,
  },
  {
    id: 'dana',
    name: 'Dana Dietrich',
    email: 'dana@demo.example',
    username: 'dana',
    groups: ['developers'],
    method: 'Password and security question',
    expectation: 'is refused: two things known are one kind of factor',
    admitted: false,
    amr: ['pwd', 'kba'],
    acr: acrOfOneFactor,
  },
  {
    id: 'erin',
    name: 'Erin Évora',
    email: 'erin@demo.example',
    username: 'erin',
    groups: ['developers'],
    method: 'Some second factor, but the identity provider does not say so',
    expectation: 'is refused: what is not signed is not believed',
    admitted: false,
    amr: undefined,
    acr: undefined,
  },
];

/** The user with this id, if there is one. */
export function findDemoUser(id: string): DemoUser | undefined {
  return demoUsers.find((user) => user.id === id);
}
