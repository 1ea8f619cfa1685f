namespace LoraNet.Metrics.Texts;

/// <summary>
/// Porter's algorithm for suffix stripping (Porter, 1980), steps 1a to 5b in the paper's form. Input is lower-case English; words of one
/// or two letters, and words with other characters than a to z, stay as they are.
/// </summary>
public static class PorterStemmer
{
    private static readonly (string Suffix, string Replacement)[] _step2 =
    [
        ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("abli", "able"), ("alli", "al"), ("entli", "ent"),
        ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"),
        ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"),
    ];

    private static readonly (string Suffix, string Replacement)[] _step3 = [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

    private static readonly string[] _step4 =
    [
        "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize",
    ];

    /// <summary>The stem of a word.</summary>
    public static string Stem(string word)
    {
        if (word.Length <= 2 || word.Any(c => c is < 'a' or > 'z')) return word;
        word = Step1(word);
        word = Replace(word, _step2);
        word = Replace(word, _step3);
        word = Step4(word);
        return Step5(word);
    }

    private static string Step1(string word)
    {
        if (word.EndsWith("sses", StringComparison.Ordinal) || word.EndsWith("ies", StringComparison.Ordinal)) word = word[..^2];
        else if (word.EndsWith('s') && !word.EndsWith("ss", StringComparison.Ordinal)) word = word[..^1];

        if (word.EndsWith("eed", StringComparison.Ordinal))
        {
            if (Measure(word[..^3]) > 0) word = word[..^1];
        }
        else if ((Cut(word, "ed") ?? Cut(word, "ing")) is { } stem)
        {
            word = stem.EndsWith("at", StringComparison.Ordinal) || stem.EndsWith("bl", StringComparison.Ordinal) || stem.EndsWith("iz", StringComparison.Ordinal) ? stem + "e"
                : EndsDoubled(stem) && stem[^1] is not ('l' or 's' or 'z') ? stem[..^1]
                : Measure(stem) == 1 && EndsShort(stem) ? stem + "e" : stem;
        }
        return word.EndsWith('y') && HasVowel(word[..^1]) ? word[..^1] + "i" : word;

        static string? Cut(string text, string suffix) => text.EndsWith(suffix, StringComparison.Ordinal) && HasVowel(text[..^suffix.Length]) ? text[..^suffix.Length] : null;
    }

    // The longest suffix that fits decides; when what is before it is too short, nothing is replaced.
    private static string Replace(string word, (string Suffix, string Replacement)[] rules)
    {
        (string suffix, string replacement) = rules.Where(r => word.EndsWith(r.Suffix, StringComparison.Ordinal)).OrderByDescending(r => r.Suffix.Length).FirstOrDefault();
        return suffix is not null && Measure(word[..^suffix.Length]) > 0 ? word[..^suffix.Length] + replacement : word;
    }

    private static string Step4(string word)
    {
        string? suffix = _step4.Where(s => word.EndsWith(s, StringComparison.Ordinal)).MaxBy(s => s.Length);
        if (suffix is null) return word;
        string stem = word[..^suffix.Length];
        return Measure(stem) > 1 && (suffix != "ion" || stem[^1] is 's' or 't') ? stem : word;
    }

    private static string Step5(string word)
    {
        if (word.EndsWith('e'))
        {
            string stem = word[..^1];
            int measure = Measure(stem);
            if (measure > 1 || (measure == 1 && !EndsShort(stem))) word = stem;
        }
        return word.EndsWith("ll", StringComparison.Ordinal) && Measure(word) > 1 ? word[..^1] : word;
    }

    private static bool IsConsonant(string word, int at) => word[at] switch
    {
        'a' or 'e' or 'i' or 'o' or 'u' => false,
        'y' => at == 0 || !IsConsonant(word, at - 1),
        _ => true,
    };

    /// <summary>m of [C](VC)^m[V]: changes from a vowel to a consonant.</summary>
    private static int Measure(string word)
    {
        int measure = 0;
        for (int i = 1; i < word.Length; i++) if (IsConsonant(word, i) && !IsConsonant(word, i - 1)) measure++;
        return measure;
    }

    private static bool HasVowel(string word) => Enumerable.Range(0, word.Length).Any(i => !IsConsonant(word, i));

    private static bool EndsDoubled(string word) => word.Length >= 2 && word[^1] == word[^2] && IsConsonant(word, word.Length - 1);

    /// <summary>Ends in consonant, vowel, consonant, the last not w, x or y.</summary>
    private static bool EndsShort(string word) => word.Length >= 3 && IsConsonant(word, word.Length - 3) && !IsConsonant(word, word.Length - 2)
        && IsConsonant(word, word.Length - 1) && word[^1] is not ('w' or 'x' or 'y');
}
