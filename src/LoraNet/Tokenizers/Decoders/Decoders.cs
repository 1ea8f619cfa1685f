using System.Globalization;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>Reads tokens in the byte alphabet as UTF-8; a token with other characters stands for itself.</summary>
internal sealed class ByteLevelDecoder : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        int size = 0;
        foreach (string t in tokens) size += t.Length * 3;
        byte[] bytes = new byte[size];
        int n = 0;
        foreach (string token in tokens)
        {
            int start = n;
            foreach (char c in token)
            {
                int b = ByteAlphabet.ByteOf(c);
                if (b < 0)
                {
                    n = start + Encoding.UTF8.GetBytes(token, bytes.AsSpan(start));
                    break;
                }
                bytes[n++] = (byte)b;
            }
        }
        return [Encoding.UTF8.GetString(bytes, 0, n)];
    }
}

/// <summary>Joins runs of tokens spelled &lt;0xNN&gt; into text; a run that is not UTF-8 becomes U+FFFD for each byte.</summary>
internal sealed class ByteFallbackDecoder : ITokenDecoder
{
    private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);

    public List<string> Decode(List<string> tokens)
    {
        var result = new List<string>(tokens.Count);
        var run = new List<byte>();
        foreach (string token in tokens)
        {
            if (TryByte(token, out byte b))
            {
                run.Add(b);
                continue;
            }
            Flush(run, result);
            result.Add(token);
        }
        Flush(run, result);
        return result;
    }

    private static bool TryByte(string token, out byte value)
    {
        value = 0;
        return token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static void Flush(List<byte> run, List<string> result)
    {
        if (run.Count == 0) return;
        try
        {
            result.Add(s_strict.GetString(run.ToArray()));
        }
        catch (DecoderFallbackException)
        {
            for (int i = 0; i < run.Count; i++) result.Add("\uFFFD");
        }
        run.Clear();
    }
}

/// <summary>Joins all tokens into one.</summary>
internal sealed class FuseDecoder : ITokenDecoder
{
    public List<string> Decode(List<string> tokens) => [string.Concat(tokens)];
}

/// <summary>Replaces every match of a pattern within each token.</summary>
internal sealed class ReplaceDecoder(SplitPattern pattern, string content) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var matches = new List<(int Start, int End)>();
        for (int i = 0; i < tokens.Count; i++)
        {
            string token = tokens[i];
            pattern.FindAll(token, matches);
            if (matches.Count == 0) continue;
            var b = new StringBuilder();
            int from = 0;
            foreach ((int start, int end) in matches)
            {
                b.Append(token, from, start - from).Append(content);
                from = end;
            }
            tokens[i] = b.Append(token, from, token.Length - from).ToString();
        }
        return tokens;
    }
}

/// <summary>Removes up to so many copies of a character from the ends of each token.</summary>
internal sealed class StripDecoder(string content, int start, int stop) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        for (int i = 0; i < tokens.Count; i++)
        {
            ReadOnlySpan<char> s = tokens[i];
            for (int k = 0; k < start && s.StartsWith(content, StringComparison.Ordinal); k++) s = s[content.Length..];
            for (int k = 0; k < stop && s.EndsWith(content, StringComparison.Ordinal); k++) s = s[..^content.Length];
            if (s.Length != tokens[i].Length) tokens[i] = s.ToString();
        }
        return tokens;
    }
}

/// <summary>Joins WordPiece continuations to their word, puts spaces between words, and closes the gaps before punctuation.</summary>
internal sealed class WordPieceDecoder(string prefix, bool cleanUp) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        for (int i = 0; i < tokens.Count; i++)
        {
            string t = tokens[i];
            if (i > 0) t = t.StartsWith(prefix, StringComparison.Ordinal) ? t[prefix.Length..] : " " + t;
            tokens[i] = cleanUp ? CleanUp(t) : t;
        }
        return tokens;
    }

    public static string CleanUp(string s) => s.Replace(" .", ".", StringComparison.Ordinal).Replace(" ?", "?", StringComparison.Ordinal)
        .Replace(" !", "!", StringComparison.Ordinal).Replace(" ,", ",", StringComparison.Ordinal).Replace(" ' ", "'", StringComparison.Ordinal)
        .Replace(" n't", "n't", StringComparison.Ordinal).Replace(" 'm", "'m", StringComparison.Ordinal).Replace(" do not", " don't", StringComparison.Ordinal)
        .Replace(" 's", "'s", StringComparison.Ordinal).Replace(" 've", "'ve", StringComparison.Ordinal).Replace(" 're", "'re", StringComparison.Ordinal);
}

/// <summary>Turns "▁" back into spaces; those of the first token were added and go.</summary>
internal sealed class MetaspaceDecoder(string replacement, PrependScheme scheme) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        for (int i = 0; i < tokens.Count; i++)
            tokens[i] = tokens[i].Replace(replacement, i == 0 && scheme != PrependScheme.Never ? "" : " ", StringComparison.Ordinal);
        return tokens;
    }
}

/// <summary>Turns the suffix that ends words into spaces, except at the end of the text.</summary>
internal sealed class BpeDecoder(string suffix) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        if (suffix.Length == 0) return tokens;
        for (int i = 0; i < tokens.Count; i++)
            tokens[i] = tokens[i].Replace(suffix, i == tokens.Count - 1 ? "" : " ", StringComparison.Ordinal);
        return tokens;
    }
}

/// <summary>Connectionist temporal classification: repeats collapse, padding goes, the word delimiter becomes a space.</summary>
internal sealed class CtcDecoder(string padToken, string delimiter, bool cleanUp) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var result = new List<string>(tokens.Count);
        string? last = null;
        foreach (string token in tokens)
        {
            if (token == last) continue;
            last = token;
            string s = padToken.Length > 0 ? token.Replace(padToken, "", StringComparison.Ordinal) : token;
            if (cleanUp)
            {
                s = WordPieceDecoder.CleanUp(s);
                if (delimiter.Length > 0) s = s.Replace(delimiter, " ", StringComparison.Ordinal);
            }
            if (s.Length > 0) result.Add(s);
        }
        return result;
    }
}
