using System.Text.RegularExpressions;

namespace LoraNet.Metrics.Texts;

/// <summary>
/// Words as NIST's mteval-v13a counts them: lower case; every ASCII punctuation mark a word of its own, except apostrophes, and except
/// full stops, commas and hyphens inside numbers and words: a full stop or comma stays between two digits, a hyphen is cut off only after
/// a digit. The four SGML entities are decoded first. Source: the description in the script's own help and Post (2018), section 2.
/// </summary>
public static partial class MtevalTokenizer
{
    /// <summary>The words of a text.</summary>
    public static string[] Tokenize(string text)
    {
        text = text.Replace("<skipped>", "", StringComparison.Ordinal).Replace("-\n", "", StringComparison.Ordinal).Replace('\n', ' ')
            .Replace("&quot;", "\"", StringComparison.Ordinal).Replace("&amp;", "&", StringComparison.Ordinal)
            .Replace("&lt;", "<", StringComparison.Ordinal).Replace("&gt;", ">", StringComparison.Ordinal);
        text = $" {text} ".ToLowerInvariant();
        text = Mark().Replace(text, " $1 ");
        text = StopAfterNonDigit().Replace(text, "$1 $2 ");
        text = StopBeforeNonDigit().Replace(text, " $1 $2");
        text = HyphenAfterDigit().Replace(text, "$1 $2 ");
        return text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
    }

    // ASCII punctuation without ' , - and the full stop, each by its code.
    [GeneratedRegex(@"([\x21-\x26\x28-\x2B\x2F\x3A-\x40\x5B-\x60\x7B-\x7E])")]
    private static partial Regex Mark();

    [GeneratedRegex(@"([^0-9])([.,])")]
    private static partial Regex StopAfterNonDigit();

    [GeneratedRegex(@"([.,])([^0-9])")]
    private static partial Regex StopBeforeNonDigit();

    [GeneratedRegex(@"([0-9])(-)")]
    private static partial Regex HyphenAfterDigit();
}
