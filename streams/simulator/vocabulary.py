"""The words of the grammar: topics with their nouns, and the classes that every topic shares.

What lives here: words only. What does not: how they make sentences (``phrases``) or how often each is used
(``grammar``).
"""

from __future__ import annotations


def listed(text: str, separator: str = ",") -> list[str]:
    """The entries of a wrapped text block: line breaks count as spaces, ends are stripped, empty entries dropped."""
    return [entry for entry in (part.strip() for part in " ".join(text.split()).split(separator)) if entry]


TOPICS: dict[str, str] = {
    "cooking": """
    sourdough starter, roux, chicken thigh, cast iron pan, pastry, risotto, stock, marinade, oven,
    dough, lentil soup, brisket, custard, pressure cooker, garlic paste, pickle jar, meringue, dumpling
    wrapper, curry leaf, stand mixer, tart shell, chili oil, rice noodle, butter sauce, spice rack,
    braise, flatbread, vinaigrette
    """,
    "gardening": """
    tomato seedling, compost heap, raised bed, soil ph, pruning shears, rose bush, drip hose, aphid,
    mulch, lawn edge, greenhouse, perennial, bulb, hedge, clay soil, watering can, trellis, fig tree,
    fertilizer, slug trap, seed tray, root rot, grass seed, herb pot, rain barrel, cuttings
    """,
    "travel": """
    night train, visa form, hostel, layover, carry-on, ferry ticket, rental car, itinerary, travel
    insurance, old town, border crossing, boarding pass, mountain hut, city pass, bus line, beach town,
    campervan, day trip, passport photo, airport transfer, walking tour, guest house, rail pass, tipping
    custom, luggage locker
    """,
    "fitness": """
    deadlift, running shoe, rest day, shoulder press, kettlebell, pull-up bar, heart rate zone, half
    marathon, foam roller, protein intake, warm-up, knee brace, rowing machine, calf strain, squat
    depth, bench press, cadence, training block, resistance band, stretch routine, grip strength,
    interval session, recovery week, treadmill
    """,
    "sleep and health": """
    blood pressure, sinus headache, vitamin level, sleep schedule, allergy season, back pain, iron
    supplement, physio appointment, migraine, cholesterol test, mouth guard, eye strain, night shift,
    cough, skin rash, dosage, side effect, blood test, antibiotic course, hearing aid, ankle sprain,
    heartburn, thyroid result
    """,
    "python code": """
    list comprehension, dataframe, virtual environment, decorator, generator, async task, type hint,
    unit test, csv parser, json payload, regex, logging handler, stack trace, dict key, context manager,
    subprocess call, import cycle, pandas merge, numpy array, lambda, pickle error, thread pool, retry
    loop, pydantic model, package index
    """,
    "web code": """
    react component, flexbox layout, fetch call, cookie banner, css grid, service worker, cors error,
    event listener, form validation, redirect loop, webpack bundle, jwt token, rest endpoint, graphql
    query, page load, session cookie, svg icon, state hook, typescript interface, media query, dropdown
    menu, infinite scroll, lint rule
    """,
    "databases": """
    foreign key, left join, index scan, migration script, deadlock, query plan, stored procedure,
    composite key, replica lag, connection pool, window function, null column, varchar limit, partition
    table, backup job, upsert, materialized view, transaction log, row lock, schema diff, sequence gap,
    full text index, shard
    """,
    "cloud operations": """
    load balancer, container image, helm chart, dns record, ssh key, cron entry, log bucket, pod
    eviction, terraform plan, iam role, autoscaling group, health check, tls certificate, message queue,
    node pool, cold start, vpn tunnel, alert rule, secret rotation, ingress rule, disk quota, build
    agent, rollback
    """,
    "statistics": """
    confidence interval, regression line, sample size, p value, outlier, standard error, time series,
    logistic model, residual plot, survey weight, bayesian prior, cluster label, effect size,
    contingency table, missing value, random seed, forecast horizon, correlation matrix, box plot,
    control group, moving average
    """,
    "school maths": """
    quadratic equation, right triangle, fraction, derivative, prime factor, word problem, matrix
    product, geometric series, unit circle, probability tree, inequality, logarithm, integral, angle
    bisector, vector sum, polynomial, ratio table, square root, proof by induction, long division,
    coordinate grid, permutation
    """,
    "physics": """
    inclined plane, circuit diagram, wave length, torque, magnetic field, lens, terminal velocity,
    pendulum, half life, heat capacity, doppler shift, spring constant, electric charge, momentum,
    refraction angle, photon, buoyant force, gas law, capacitor, orbital period, friction coefficient,
    standing wave
    """,
    "history": """
    trade route, peace treaty, city state, naval battle, coronation, famine, guild, land reform,
    colonial charter, printing press, siege, census record, revolt, dynasty, armistice, ship manifest,
    spice trade, parliament act, railway boom, archive letter, border dispute, emperor, merchant family,
    monastery
    """,
    "literature": """
    unreliable narrator, sonnet, metaphor, opening chapter, subplot, villain, short story, dialogue tag,
    stanza, character arc, prologue, theme, point of view, epilogue, irony, magical realism, rhyme
    scheme, foreshadowing, novella, flashback, setting, tragic hero, allegory, haiku
    """,
    "law": """
    lease clause, deposit, small claims form, notice period, power of attorney, trademark filing,
    severance agreement, custody hearing, non-compete, liability waiver, parking fine, will, tenant
    notice, settlement offer, privacy policy, affidavit, building permit, copyright claim, zoning rule,
    warranty term, deed
    """,
    "personal finance": """
    mortgage rate, index fund, tax return, emergency fund, credit score, pension plan, car loan, budget
    sheet, dividend, interest payment, brokerage fee, student loan, savings account, capital gain,
    insurance premium, payslip, expense report, retirement age, bond ladder, exchange rate, refund,
    household bill
    """,
    "marketing": """
    landing page, email subject line, brand voice, ad campaign, newsletter, product launch, customer
    survey, hashtag, press release, call to action, conversion rate, target audience, slogan, case
    study, blog outline, content calendar, influencer brief, discount code, webinar, open rate, loyalty
    program, tagline
    """,
    "job search": """
    cover letter, resume bullet, salary range, interview question, reference letter, career change,
    notice letter, portfolio, job offer, internship, linkedin summary, performance review, gap year,
    team lead role, thank you note, work sample, probation period, recruiter call, promotion case,
    skills section
    """,
    "office work": """
    meeting minutes, spreadsheet formula, pivot table, slide deck, status report, project plan, calendar
    invite, shared folder, onboarding checklist, deadline, stakeholder update, vendor quote, travel
    request, out of office reply, macro, mail merge, invoice, weekly summary, agenda, kanban board,
    budget request
    """,
    "parenting": """
    nap schedule, toddler tantrum, school run, lunch box, screen time, birthday party, bedtime story,
    potty training, teething, baby monitor, picky eater, stroller, homework routine, pocket money, swim
    class, first day, sibling fight, reading log, daycare bag, science fair
    """,
    "pets": """
    litter box, puppy crate, flea treatment, cat tree, dog park, leash training, fish tank, vet bill,
    chew toy, rescue dog, kitten food, aquarium filter, hamster wheel, shedding coat, separation
    anxiety, bird cage, horse blanket, hoof care, raw diet, harness
    """,
    "cars": """
    brake pad, timing belt, battery terminal, winter tyre, oil leak, clutch pedal, check engine light,
    radiator hose, spark plug, wheel bearing, exhaust pipe, charging cable, roof rack, gearbox,
    headlight bulb, wiper blade, alternator, service interval, tow bar, fuel gauge, suspension arm
    """,
    "home repair": """
    drywall patch, leaking tap, circuit breaker, floor joist, paint roller, door hinge, boiler pressure,
    grout line, gutter, wall anchor, window seal, radiator valve, loft insulation, tile cutter,
    extension cord, deck board, sink trap, mould spot, smoke alarm, shelf bracket, water heater
    """,
    "music": """
    chord progression, bass line, drum loop, piano scale, guitar string, time signature, mix bus, reverb
    tail, vocal harmony, key change, fingering, sheet music, audio interface, compressor setting,
    melody, bridge section, practice routine, amp tone, metronome, string quartet, sample pack
    """,
    "film and photo": """
    shutter speed, tripod, storyboard, color grade, lens flare, camera angle, light meter, screenplay,
    short film, white balance, portrait session, boom mic, drone shot, depth of field, film stock, edit
    timeline, raw file, softbox, wedding shoot, macro lens, thumbnail
    """,
    "games": """
    dungeon map, skill tree, speedrun, chess opening, loot table, campaign setting, boss fight, deck
    list, save file, board game night, character sheet, frame rate, puzzle room, quest line, dice roll,
    crafting recipe, ranked match, mod folder, level design, tower defense, endgame build
    """,
    "language learning": """
    verb ending, vocabulary list, subjunctive, accent mark, tonal pair, listening exercise, phrase book,
    grammar drill, false friend, past tense, flash card, language exchange, loan word, pronunciation,
    sentence order, case ending, idiom, oral exam, reading passage, polite form
    """,
    "biology": """
    cell membrane, enzyme, food web, gene sequence, photosynthesis, nervous system, protein fold,
    mitosis, bacteria culture, immune response, stem cell, predator, pollinator, blood type, dna sample,
    kidney function, algae bloom, mutation, lab protocol, coral reef
    """,
    "chemistry": """
    titration, reaction rate, covalent bond, buffer solution, molar mass, catalyst, oxidation state, lab
    report, boiling point, precipitate, organic compound, polymer chain, acid rain, isotope, electron
    shell, solvent, equilibrium, distillation column, spectrum, limiting reagent
    """,
    "psychology": """
    attachment style, working memory, coping strategy, group bias, sleep study, placebo, habit loop,
    therapy session, reward system, social anxiety, attention span, burnout, case report, personality
    scale, conflict style, motivation, grief, conditioning, self esteem
    """,
    "philosophy": """
    trolley problem, social contract, free will, thought experiment, moral duty, virtue, categorical
    imperative, stoic text, paradox, consciousness, utilitarian view, meaning of life, skeptic, essay
    question, personal identity, just war, logic puzzle, determinism
    """,
    "small business": """
    food truck, supplier contract, shop lease, bookkeeping tool, pricing table, coffee shop, online
    store, return policy, staff rota, cash flow, business plan, franchise fee, stock count, packaging
    box, market stall, booking system, tip jar, payment terminal, opening hours, delivery zone
    """,
    "networking": """
    router, subnet mask, port forward, wifi channel, mesh node, firewall rule, packet loss, ethernet
    cable, dns cache, static route, switch port, latency spike, access point, proxy setting, mac
    address, bandwidth cap, guest network, fibre modem, vlan tag, ping test
    """,
    "embedded": """
    stepper motor, arduino sketch, sensor reading, bootloader, i2c bus, voltage divider, serial port,
    pwm signal, firmware image, interrupt handler, watchdog, solder joint, gpio pin, level shifter,
    power supply, display driver, rtos task, pull-up resistor, battery pack, uart log
    """,
    "data science": """
    feature matrix, validation split, learning rate, decision tree, embedding, label noise, confusion
    matrix, training loop, data leak, gradient step, notebook cell, overfitting, tokenizer, recall
    score, batch size, dropout layer, class weight, hyperparameter, pipeline step, roc curve
    """,
    "sports": """
    offside rule, penalty kick, tennis serve, free throw, season ticket, transfer window, zone defense,
    swim stroke, golf swing, cycling stage, relay team, goal difference, playoff bracket, coach,
    relegation, referee call, home crowd, draft pick, wicket, ski pass
    """,
    "fashion": """
    wool coat, rain jacket, suit fitting, sneaker sole, color palette, capsule wardrobe, denim wash,
    linen shirt, hem, dress code, silk scarf, leather boot, stain, sewing pattern, vintage store, knit
    sweater, wedding guest outfit, button, belt, size chart
    """,
    "climate and energy": """
    heat pump, solar panel, carbon price, wind farm, grid battery, flood map, insulation grade, emission
    report, hydrogen plant, drought index, recycling bin, electric bus, feed-in tariff, glacier, peak
    load, smart meter, energy bill, nuclear plant, air quality, storm surge
    """,
    "real estate": """
    open house, floor plan, closing cost, rental listing, house inspection, property tax, down payment,
    roof survey, moving truck, studio flat, landlord, bidding war, escrow, appraisal, maintenance fee,
    storage unit, neighbourhood, sublet, housing board, kitchen remodel
    """,
    "events": """
    wedding speech, seating plan, guest list, baby shower, retirement party, venue deposit, toast,
    playlist, invitation wording, team offsite, conference talk, reunion, charity auction, catering
    quote, dress rehearsal, anniversary gift, farewell card, trivia night, name tag, photo booth
    """,
}
"""Topic name -> nouns and noun phrases, comma separated."""

VERBS = listed(
    """
    fix clean replace compare measure explain choose build improve plan check sort store move test avoid
    combine describe design estimate find install label list manage mix order organise paint prepare
    price remove rename repair reset review rewrite save schedule set share simplify split start stop
    summarise swap teach track translate update use verify wash write calculate connect convert copy cut
    debug delete draft edit export extend freeze import join launch limit load lower map merge mount
    open outline pack print protect prove publish raise read rebuild record reduce refresh register rent
    restore return reuse scale scan seal search secure select sell send shape ship shorten simulate
    sketch solve speed stabilise strengthen structure submit support switch tighten time trace train
    transfer treat trim tune upgrade validate vary weigh wire wrap adjust align apply arrange assess
    attach balance book borrow broaden cancel carry catalogue chart clarify collect configure confirm
    count cover decorate defend detect document drain earn enable
    """,
    " ",
)

ADJECTIVES = listed(
    """
    old new cheap broken small large heavy quiet wet dry cold warm slow fast empty loose tight missing
    wrong spare second first last hidden shared custom default weekly monthly daily annual local remote
    simple complex rough smooth sharp dull bright dark thin thick short long wide narrow raw fresh stale
    rusty faulty worn temporary permanent public private legacy modern vintage digital manual automatic
    portable nested duplicate noisy stable unstable partial complete invalid valid expired blank odd
    even regular rare common popular obscure seasonal leftover homemade imported regional rural urban
    coastal northern southern outdoor indoor upper lower inner outer front rear left right early late
    delayed urgent optional mandatory annoying weird tricky fragile sturdy flexible rigid soft hard
    sticky slippery clean dirty cracked bent frozen overheated unused crowded expensive affordable
    premium basic advanced professional amateur
    """,
    " ",
)

QUALIFIERS = listed(
    """
    really quite rather fairly somewhat almost still already barely mostly often rarely sometimes
    usually finally suddenly slowly quickly carefully properly correctly safely cheaply neatly quietly
    permanently temporarily
    """,
    " ",
)

PLACES = listed("""
    kitchen, office, garage, basement, classroom, back garden, spare room, workshop, balcony, studio,
    warehouse, clinic, shop floor, lab, attic, hallway, car park, boat, camper, school, library, gym,
    village hall, market, home server, staging system, test account, second laptop, phone, tablet, work
    computer, church hall, dorm, barn, restaurant, factory, meeting room, living room, bathroom, porch,
    community centre, museum, hospital ward, archive, theatre, ski cabin, allotment, courtyard, laundry
    room
    """)

PEOPLE = listed("""
    my boss, my landlord, a friend, my sister, our client, the teacher, my daughter, a colleague, my
    doctor, the neighbour, my son, the committee, our supplier, my manager, a customer, my husband, my
    wife, the inspector, our intern, my professor, the plumber, my team, a stranger, my
    grandmother, the new hire, my cousin, the school board, our accountant, my coach, a beginner, an
    expert, the audience, my flatmate, the buyer, our investor, a child, my book club
    """)

TIMES = listed("""
    this morning, last week, since monday, for two months, every evening, before the weekend, after
    lunch, at night, during the holidays, in winter, since the update, for years, twice a day, once a
    month, in the past, next friday, by tomorrow, all summer, after the move, yesterday, on sundays,
    over the break, in two weeks, too late, since spring, in the rain, before the exam, after
    work, in an hour, the other day, today, between classes
    """)

DETERMINERS = listed(
    """
    the my this a our your that each some any another every his her their one which these those no both
    what enough several many most few whose
    """,
    " ",
)

PREPOSITIONS = listed(
    """
    in, on, with, for, without, under, near, after, before, during, about, from, by, against, instead
    of, next to, inside, over, between, through, towards, despite, behind, across, like, beyond, at,
    along, around, except, via, per, until
    """
)

CONJUNCTIONS = listed(
    """
    and, or, but, so, because, while, if, when, unless, until, since, though, whereas, once more, once,
    even if, plus, rather than, just as, in case, provided, after, before, where
    """
)

AUXILIARIES = listed(
    """
    can, should, could, will, might, must, would, is going to, needs to, has to, tends to, refuses to,
    used to, did not, does not, never, always, wants to, had to, forgot to, is about to, plans to, tried
    to, failed to, may, cannot, ought to, hopes to, agreed to, seems to
    """
)

ONSETS = listed("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh sl st t th tr v w y z", " ")
VOWELS = listed("a e i o u ai ea ei ia io oa ou", " ")
CODAS = listed("b ck d g l ld ll m n nd ng nt p r rd rk rn rt s sk ss st t th x z", " ")
ENDINGS = listed("a e o er in us um ix on ton ley man sen ski ova ini ez by ford field mere wick ham", " ")
"""Syllable parts: invented surnames, brands and place names are built from them, so that names are many."""
