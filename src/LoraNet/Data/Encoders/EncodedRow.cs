using LoraNet.Data.Reading;
using LoraNet.Models;

namespace LoraNet.Data.Encoders;

/// <summary>A row as tokens, and what was noticed on the way.</summary>
internal readonly record struct EncodedRow(TokenRow Row, RowFacts Facts);

/// <summary>What is remembered of a row beside its tokens.</summary>
/// <param name="Place">File and line.</param>
/// <param name="Form">Its form.</param>
/// <param name="Flags">What was noticed.</param>
/// <param name="FullLength">Tokens before cutting.</param>
/// <param name="Unknown">Tokens of the row that stand for text outside the vocabulary.</param>
internal readonly record struct RowFacts(RowPlace Place, DataForm Form, RowFlags Flags, int FullLength, int Unknown);

/// <summary>What was noticed about a row.</summary>
[Flags]
internal enum RowFlags : byte
{
    None = 0,

    /// <summary>An answer has no text.</summary>
    EmptyAnswer = 1,

    /// <summary>Two start tokens stood at the beginning; in rows made from text one was removed.</summary>
    DoubledBos = 2,

    /// <summary>One of the last three trained tokens ends a text.</summary>
    EndsInEos = 4,
}
