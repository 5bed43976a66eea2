//! Turns on other subjects, to stand between a preference and the question where it matters.

/// What a user asks and an assistant answers.
pub(super) const DISTRACTORS: [(&str, &str); 12] = [
    (
        "How do I turn a fraction like 3/8 into a percentage?",
        "Divide 3 by 8, which gives 0.375, and multiply by 100: it is 37.5 percent. The same two steps work for every fraction.",
    ),
    (
        "Why does the moon look larger near the horizon?",
        "It is an illusion. Near the horizon we compare it with houses and trees; high up there is nothing to compare it with. A photograph shows the same size both times.",
    ),
    (
        "What's the difference between 'affect' and 'effect'?",
        "Mostly 'affect' is the verb and 'effect' is the noun: noise affects sleep, and poor sleep is the effect. 'Effect' as a verb means to bring about, as in to effect a change.",
    ),
    (
        "Can you explain what a leap second is?",
        "The Earth's rotation is not quite even, so now and then a second was added to clocks to keep noon at noon. Computers cope badly with it, and the practice is to end by 2035.",
    ),
    (
        "How do I find out how many rows a CSV file has?",
        "In a terminal, wc -l file.csv counts the lines; take one off for the header. If fields may contain line breaks, let a CSV reader count instead.",
    ),
    (
        "What makes bread rise?",
        "Yeast eats sugars in the dough and gives off carbon dioxide. The gluten forms a net that holds the bubbles, and the heat of the oven sets it before they escape.",
    ),
    (
        "Who decides how tall a mountain is?",
        "National survey offices do. They used to sight angles from known points; now they put a satellite receiver on the summit and correct for the shape of the Earth's gravity field.",
    ),
    (
        "Could you give me a synonym for 'important' in a formal letter?",
        "Depending on the sense: 'significant' for weight, 'essential' for something that can't be left out, 'pressing' for something that can't wait.",
    ),
    (
        "How does a lock on a canal work?",
        "A boat enters a chamber with gates at both ends. Valves let water in from above or out below until the level matches the next stretch, and then that gate opens. No pump is needed going down.",
    ),
    (
        "What is the plural of 'octopus'?",
        "'Octopuses' is the usual one. 'Octopi' treats a Greek word as Latin, and 'octopodes' is right in Greek but sounds stiff in English.",
    ),
    (
        "Why do metal things feel colder than wooden ones in the same room?",
        "They are equally warm, but metal carries heat away from your fingers faster. What you feel is how quickly your skin cools.",
    ),
    (
        "How many weeks are there in a year, exactly?",
        "A common year has 52 weeks and one day, a leap year 52 weeks and two days. That is why your birthday moves on by one weekday each year, or two after a leap day.",
    ),
];
