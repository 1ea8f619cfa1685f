using System.IO.Compression;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>
/// The Unicode normalization forms (UAX 15), with alignments. Own tables, because .NET's string.Normalize changes nothing when an
/// application runs with InvariantGlobalization, and because the character ranges are needed.
/// </summary>
internal sealed class UnicodeNormalizer : ITextNormalizer
{
    public static readonly UnicodeNormalizer Nfc = new(compatibility: false, compose: true);
    public static readonly UnicodeNormalizer Nfd = new(compatibility: false, compose: false);
    public static readonly UnicodeNormalizer Nfkc = new(compatibility: true, compose: true);
    public static readonly UnicodeNormalizer Nfkd = new(compatibility: true, compose: false);

    private const int HangulBase = 0xAC00, HangulEnd = 0xD7A3, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7, Tails = 28, Vowels = 21;

    private readonly bool _compatibility;
    private readonly bool _compose;

    private UnicodeNormalizer(bool compatibility, bool compose)
    {
        _compatibility = compatibility;
        _compose = compose;
    }

    public TextBuffer Normalize(TextBuffer text)
    {
        ReadOnlySpan<char> s = text.Span;
        // Nothing below U+00A0 (for composed forms: below U+0300) changes.
        if (!s.ContainsAnyExceptInRange('\0', _compose && !_compatibility ? '\u02FF' : '\u009F')) return text;
        var b = new TextBuilder(s.Length, text.Tracks);
        var run = new List<Mark>();
        for (int i = 0; i < s.Length;)
        {
            Rune.DecodeFromUtf16(s[i..], out Rune rune, out int units);
            TokenSpan span = text.Original(i, i + units);
            i += units;
            int start = run.Count;
            Decompose(rune.Value, span, run);
            // A starter that no earlier character can absorb closes the run before it.
            if (start > 0 && run[start].Class == 0 && !(_compose && Tables.CanFollow(run[start].Code)))
            {
                Mark[] later = run.GetRange(start, run.Count - start).ToArray();
                run.RemoveRange(start, run.Count - start);
                Flush(run, b);
                run.AddRange(later);
            }
        }
        Flush(run, b);
        return b.Build();
    }

    private void Flush(List<Mark> run, TextBuilder b)
    {
        if (Sort(run)) Realign(run);
        if (_compose) Compose(run);
        foreach (Mark m in run) b.AddCodePoint(m.Code, m.Span.Start, m.Span.End);
        run.Clear();
    }

    private void Decompose(int code, TokenSpan span, List<Mark> run)
    {
        if (code is >= HangulBase and <= HangulEnd)
        {
            int s = code - HangulBase;
            run.Add(new Mark(LeadBase + s / (Vowels * Tails), 0, span));
            run.Add(new Mark(VowelBase + s % (Vowels * Tails) / Tails, 0, span, First: false));
            if (s % Tails != 0) run.Add(new Mark(TailBase + s % Tails, 0, span, First: false));
            return;
        }
        if ((_compatibility ? Tables.Compatibility : Tables.Canonical).TryGetValue(code, out int[]? parts))
        {
            for (int k = 0; k < parts.Length; k++) run.Add(new Mark(parts[k], Tables.ClassOf(parts[k]), span, k == 0));
            return;
        }
        run.Add(new Mark(code, Tables.ClassOf(code), span));
    }

    /// <summary>Canonical order: marks between two starters sorted by class, stably.</summary>
    private static bool Sort(List<Mark> run)
    {
        bool moved = false;
        for (int i = 0; i < run.Count;)
        {
            if (run[i].Class == 0)
            {
                i++;
                continue;
            }
            int end = i;
            while (end < run.Count && run[end].Class != 0) end++;
            if (end - i > 1)
            {
                Mark[] sorted = run.GetRange(i, end - i).OrderBy(m => m.Class).ToArray();
                for (int k = 0; k < sorted.Length; k++)
                {
                    moved |= run[i + k] != sorted[k];
                    run[i + k] = sorted[k];
                }
            }
            i = end;
        }
        return moved;
    }

    /// <summary>
    /// Ranges stay in the order of the text when marks change places: the first parts of the decomposed characters take them in turn,
    /// the other parts share their predecessor's, as in Hugging Face's library.
    /// </summary>
    private static void Realign(List<Mark> run)
    {
        var firsts = new Queue<TokenSpan>(run.Where(m => m.First).Select(m => m.Span).OrderBy(s => s.Start));
        TokenSpan last = run[0].Span;
        for (int i = 0; i < run.Count; i++)
        {
            if (run[i].First) last = firsts.Dequeue();
            run[i] = run[i] with { Span = last };
        }
    }

    private static void Compose(List<Mark> run)
    {
        int starter = -1;
        int lastClass = -1;
        int kept = 0;
        for (int i = 0; i < run.Count; i++)
        {
            Mark m = run[i];
            // A mark is blocked from its starter by one of the same or a higher class in between.
            if (starter >= 0 && (lastClass < m.Class || lastClass == -1) && Tables.TryCompose(run[starter].Code, m.Code, out int whole))
            {
                run[starter] = run[starter] with { Code = whole };
                continue;
            }
            if (m.Class == 0)
            {
                starter = kept;
                lastClass = -1;
            }
            else
            {
                lastClass = m.Class;
            }
            run[kept++] = m;
        }
        run.RemoveRange(kept, run.Count - kept);
    }

    private readonly record struct Mark(int Code, int Class, TokenSpan Span, bool First = true);

    /// <summary>The embedded tables; see generate_normalization.py.</summary>
    private static class Tables
    {
        public static readonly Dictionary<int, int[]> Canonical = [];
        public static readonly Dictionary<int, int[]> Compatibility = [];
        private static readonly Dictionary<int, byte> s_classes = [];
        private static readonly Dictionary<long, int> s_pairs = [];
        private static readonly HashSet<int> s_seconds = [];

        static Tables()
        {
            using Stream raw = typeof(UnicodeNormalizer).Assembly.GetManifestResourceStream("LoraNet.Tokenizers.UnicodeNormalization.bin")!;
            using var packed = new DeflateStream(raw, CompressionMode.Decompress);
            using var memory = new MemoryStream();
            packed.CopyTo(memory);
            byte[] data = memory.ToArray();
            int at = 0;
            int code = 0;
            for (int n = Next(); n > 0; n--)
            {
                code += Next();
                s_classes[code] = (byte)Next();
            }
            code = 0;
            for (int n = Next(); n > 0; n--)
            {
                code += Next();
                int flags = Next();
                int[]? canonical = (flags & 1) != 0 ? Sequence() : null;
                int[]? compatibility = (flags & 2) != 0 ? Sequence() : null;
                if (canonical is not null) Canonical[code] = canonical;
                Compatibility[code] = compatibility ?? canonical!;
                if ((flags & 4) == 0) continue;
                int first = Next();
                int second = Next();
                s_pairs[((long)first << 32) | (uint)second] = code;
                s_seconds.Add(second);
            }

            int[] Sequence()
            {
                int[] codes = new int[Next()];
                for (int i = 0; i < codes.Length; i++) codes[i] = Next();
                return codes;
            }

            int Next()
            {
                int value = 0;
                for (int shift = 0; ; shift += 7)
                {
                    byte b = data[at++];
                    value |= (b & 127) << shift;
                    if (b < 128) return value;
                }
            }
        }

        public static int ClassOf(int code) => code < 0x300 ? 0 : s_classes.GetValueOrDefault(code);

        public static bool CanFollow(int code) =>
            s_seconds.Contains(code) || code is (>= VowelBase and < VowelBase + Vowels) or (> TailBase and < TailBase + Tails);

        public static bool TryCompose(int first, int second, out int whole)
        {
            if (first is >= LeadBase and < LeadBase + 19 && second is >= VowelBase and < VowelBase + Vowels)
            {
                whole = HangulBase + ((first - LeadBase) * Vowels + second - VowelBase) * Tails;
                return true;
            }
            if (first is >= HangulBase and <= HangulEnd && (first - HangulBase) % Tails == 0 && second is > TailBase and < TailBase + Tails)
            {
                whole = first + second - TailBase;
                return true;
            }
            return s_pairs.TryGetValue(((long)first << 32) | (uint)second, out whole);
        }
    }
}
