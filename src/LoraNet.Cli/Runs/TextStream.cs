using System.Text;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Runs;

/// <summary>Turns a stream of ids into text, ends at a stop string, and never shows a part of one.</summary>
internal sealed class TextStream(Tokenizer? tokenizer, IReadOnlyList<string> stops, Action<string>? show)
{
    private readonly IncrementalDecoder? _decoder = tokenizer?.CreateDecoder();
    private readonly StringBuilder _text = new();
    private readonly int _longestStop = stops.Count == 0 ? 0 : stops.Max(s => s.Length);
    private int _shown;

    /// <summary>The text so far.</summary>
    public string Text => _text.ToString();

    /// <summary>Tells the decoder what came before, so that the first token keeps its space; none of it is text of this stream.</summary>
    public void Prime(IEnumerable<int> prompt)
    {
        if (_decoder is null) return;
        foreach (int id in prompt) _decoder.Append(id);
    }

    /// <summary>Adds an id; false when a stop string was completed.</summary>
    public bool Append(int id)
    {
        if (_decoder is null) return true;
        int before = Math.Max(0, _text.Length - _longestStop);
        _text.Append(_decoder.Append(id));
        return Check(before);
    }

    /// <summary>Ends the stream.</summary>
    public void Finish()
    {
        if (_decoder is null) return;
        int before = Math.Max(0, _text.Length - _longestStop);
        _text.Append(_decoder.Flush());
        Check(before);
        Show(_text.Length);
    }

    private bool Check(int from)
    {
        if (stops.Count > 0)
        {
            string tail = _text.ToString(from, _text.Length - from);
            int found = stops.Select(s => tail.IndexOf(s, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(-1).Min();
            if (found >= 0)
            {
                _text.Length = from + found;
                return false;
            }
        }
        // Text that may be the beginning of a stop string waits.
        Show(_text.Length - Math.Max(0, _longestStop - 1));
        return true;
    }

    private void Show(int end)
    {
        if (show is null || end <= _shown) return;
        show(_text.ToString(_shown, end - _shown));
        _shown = end;
    }
}
