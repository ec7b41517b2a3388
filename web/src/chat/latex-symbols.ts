/** LaTeX's names of characters. */

/** Without what all objects have: names come from strangers. */
export function bare<T>(entries: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  return Object.assign(Object.create(null), entries)
}

const list = (text: string): Readonly<Record<string, string>> =>
  bare(
    Object.fromEntries(
      text
        .trim()
        .split(/\s+/)
        .map((pair) => pair.split('=') as [string, string])
    )
  )

export const LETTERS = list(`
  alpha=α beta=β gamma=γ delta=δ epsilon=ϵ varepsilon=ε zeta=ζ eta=η theta=θ vartheta=ϑ iota=ι kappa=κ lambda=λ mu=μ
  nu=ν xi=ξ pi=π varpi=ϖ rho=ρ varrho=ϱ sigma=σ varsigma=ς tau=τ upsilon=υ phi=ϕ varphi=φ chi=χ psi=ψ omega=ω
  Gamma=Γ Delta=Δ Theta=Θ Lambda=Λ Xi=Ξ Pi=Π Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω
  infty=∞ partial=∂ nabla=∇ hbar=ℏ ell=ℓ Re=ℜ Im=ℑ aleph=ℵ emptyset=∅ varnothing=∅ imath=ı jmath=ȷ wp=℘ top=⊤ bot=⊥
`)

export const OPERATORS = list(`
  times=× cdot=⋅ div=÷ pm=± mp=∓ ast=∗ star=⋆ circ=∘ bullet=∙ oplus=⊕ otimes=⊗ odot=⊙ ominus=⊖ wedge=∧ vee=∨ land=∧
  lor=∨ neg=¬ lnot=¬ cap=∩ cup=∪ setminus=∖ leq=≤ le=≤ geq=≥ ge=≥ neq=≠ ne=≠ equiv=≡ approx=≈ sim=∼ simeq=≃ cong=≅
  propto=∝ ll=≪ gg=≫ prec=≺ succ=≻ in=∈ notin=∉ ni=∋ subset=⊂ supset=⊃ subseteq=⊆ supseteq=⊇ forall=∀ exists=∃ nexists=∄
  to=→ rightarrow=→ leftarrow=← gets=← leftrightarrow=↔ Rightarrow=⇒ Leftarrow=⇐ Leftrightarrow=⇔ implies=⟹ impliedby=⟸
  iff=⟺ longrightarrow=⟶ longleftarrow=⟵ mapsto=↦ uparrow=↑ downarrow=↓ hookrightarrow=↪ rightharpoonup=⇀
  ldots=… dots=… cdots=⋯ vdots=⋮ ddots=⋱ mid=∣ nmid=∤ parallel=∥ perp=⟂ angle=∠ triangle=△ therefore=∴ because=∵ prime=′
  langle=⟨ rangle=⟩ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ lvert=| rvert=| lVert=‖ rVert=‖ vert=| Vert=‖ backslash=∖ colon=:
  models=⊨ vdash=⊢ checkmark=✓ square=□ dagger=† asymp=≍ doteq=≐ triangleq=≜ degree=°
`)

/** Those that have their limits above and below where there is room. */
export const LARGE = list(`
  sum=∑ prod=∏ coprod=∐ bigcup=⋃ bigcap=⋂ bigoplus=⨁ bigotimes=⨂ bigwedge=⋀ bigvee=⋁ lim=lim max=max min=min sup=sup inf=inf
  argmax=argmax argmin=argmin limsup=limsup liminf=liminf det=det gcd=gcd Pr=Pr
`)

export const INTEGRALS = list('int=∫ iint=∬ iiint=∭ oint=∮')

export const FUNCTIONS = new Set(
  'sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh exp log ln lg arg deg dim ker hom mod'.split(
    ' '
  )
)

export const ACCENTS = list(
  'hat=^ widehat=^ bar=¯ overline=‾ vec=→ tilde=~ widetilde=~ dot=˙ ddot=¨ overrightarrow=→ overbrace=⏞'
)
export const BELOW = list('underline=_ underbrace=⏟')

/** In em. */
export const SPACES = bare<number>({
  ...{
    ',': 0.17,
    ':': 0.22,
    '>': 0.22,
    ';': 0.28,
    ' ': 0.25,
    '!': 0,
    quad: 1,
    qquad: 2,
    enspace: 0.5,
    thinspace: 0.17
  }
})

/** Where Unicode's letters of these kinds begin, as code points of A, a and 0. https://unicode.org/charts/PDF/U1D400.pdf */
export const ALPHABETS = bare<readonly [number, number, number?]>({
  mathbf: [0x1d400, 0x1d41a, 0x1d7ce],
  boldsymbol: [0x1d400, 0x1d41a, 0x1d7ce],
  bm: [0x1d400, 0x1d41a, 0x1d7ce],
  mathbb: [0x1d538, 0x1d552, 0x1d7d8],
  mathcal: [0x1d49c, 0x1d4b6],
  mathscr: [0x1d49c, 0x1d4b6],
  mathfrak: [0x1d504, 0x1d51e],
  mathsf: [0x1d5a0, 0x1d5ba, 0x1d7e2],
  mathtt: [0x1d670, 0x1d68a, 0x1d7f6]
})

/** Letters that Unicode had before it had their alphabets. */
export const OLDER = list(`
  mathbbC=ℂ mathbbH=ℍ mathbbN=ℕ mathbbP=ℙ mathbbQ=ℚ mathbbR=ℝ mathbbZ=ℤ mathcalB=ℬ mathcalE=ℰ mathcalF=ℱ mathcalH=ℋ
  mathcalI=ℐ mathcalL=ℒ mathcalM=ℳ mathcalR=ℛ mathscrB=ℬ mathscrE=ℰ mathscrF=ℱ mathscrH=ℋ mathscrI=ℐ mathscrL=ℒ
  mathscrM=ℳ mathscrR=ℛ mathfrakC=ℭ mathfrakH=ℌ mathfrakI=ℑ mathfrakR=ℜ mathfrakZ=ℨ
`)
