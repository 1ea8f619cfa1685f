using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>The kinds of SentencePiece entries, numbered as in the file.</summary>
internal enum PieceType
{
    /// <summary>A piece found by training.</summary>
    Normal = 1,

    /// <summary>Stands for what has no piece.</summary>
    Unknown = 2,

    /// <summary>A mark such as the start of a text.</summary>
    Control = 3,

    /// <summary>Always kept whole.</summary>
    UserDefined = 4,

    /// <summary>Not to be produced.</summary>
    Unused = 5,

    /// <summary>One byte, spelled &lt;0xNN&gt;.</summary>
    Byte = 6,
}

/// <summary>An entry of a SentencePiece model.</summary>
internal readonly record struct ScoredPiece(string Text, float Score, PieceType Type);

/// <summary>The content of a SentencePiece .model file (protocol buffer sentencepiece.ModelProto).</summary>
internal sealed class SentencePieceFile
{
    public List<ScoredPiece> Pieces { get; } = [];

    /// <summary>1 unigram, 2 BPE, 3 words, 4 characters.</summary>
    public int ModelType { get; set; } = 1;

    public bool ByteFallback { get; set; }

    public bool AddDummyPrefix { get; set; } = true;

    public bool RemoveExtraWhitespace { get; set; } = true;

    public bool EscapeWhitespace { get; set; } = true;

    public CharsMap CharsMap { get; set; } = CharsMap.Empty;

    public int BosId { get; set; } = 1;

    public int EosId { get; set; } = 2;

    public int PadId { get; set; } = -1;

    public static SentencePieceFile Read(ReadOnlySpan<byte> data, string source)
    {
        var model = new SentencePieceFile();
        var reader = new ProtobufReader(data, source);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 1:
                    model.Pieces.Add(ReadPiece(reader.ReadBytes(), source, model.Pieces.Count));
                    break;
                case 2:
                    model.ReadTrainer(reader.ReadBytes(), source);
                    break;
                case 3:
                    model.ReadNormalizer(reader.ReadBytes(), source);
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
        if (model.Pieces.Count == 0) throw new LoraNetException($"{source}: the SentencePiece model has no pieces.", "Download the file again.");
        return model;
    }

    private static ScoredPiece ReadPiece(ReadOnlySpan<byte> data, string source, int index)
    {
        string text = "";
        float score = 0;
        PieceType type = PieceType.Normal;
        var reader = new ProtobufReader(data, source);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 1:
                    text = Encoding.UTF8.GetString(reader.ReadBytes());
                    break;
                case 2:
                    score = reader.ReadFloat();
                    break;
                case 3:
                    type = (PieceType)reader.ReadInt32();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
        if (text.Length is 0 or > SentencePieceTokenizer.MaxPieceLength || float.IsNaN(score) || !Enum.IsDefined(type))
            throw new LoraNetException($"{source}: piece {index} is damaged (length {text.Length}, score {score}, type {(int)type}).", "Download the file again.");
        return new ScoredPiece(text, score, type);
    }

    private void ReadTrainer(ReadOnlySpan<byte> data, string source)
    {
        var reader = new ProtobufReader(data, source);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 3:
                    ModelType = reader.ReadInt32();
                    break;
                case 35:
                    ByteFallback = reader.ReadBool();
                    break;
                case 41:
                    BosId = reader.ReadInt32();
                    break;
                case 42:
                    EosId = reader.ReadInt32();
                    break;
                case 43:
                    PadId = reader.ReadInt32();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
    }

    private void ReadNormalizer(ReadOnlySpan<byte> data, string source)
    {
        var reader = new ProtobufReader(data, source);
        while (reader.Next(out int field))
        {
            switch (field)
            {
                case 2:
                    CharsMap = CharsMap.Read(reader.ReadBytes(), source);
                    break;
                case 3:
                    AddDummyPrefix = reader.ReadBool();
                    break;
                case 4:
                    RemoveExtraWhitespace = reader.ReadBool();
                    break;
                case 5:
                    EscapeWhitespace = reader.ReadBool();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }
    }
}
