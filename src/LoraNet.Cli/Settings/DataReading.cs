using LoraNet.ChatTemplates;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Settings;

/// <summary>Reads data files as the settings say; the same for training, evaluation and previews.</summary>
internal static class DataReading
{
    /// <summary>The settings it reads.</summary>
    public static IReadOnlyList<Setting> Settings { get; } = TrainSettings.Some("max-length", "train-on", "chat-template", "data-cache");

    /// <summary>The longest row in force.</summary>
    public static int MaxLength(SettingValues values, ModelConfig config)
    {
        int length = values.Integer("max-length") ?? Math.Min(2048, config.MaxPositionEmbeddings);
        return length >= 2 ? length : throw values.Error("max-length", $"--max-length {length} is too short; a sample needs at least 2 tokens.");
    }

    /// <summary>The options in force.</summary>
    public static DataOptions Options(SettingValues values, ModelConfig config) => new()
    {
        MaxLength = MaxLength(values, config),
        TrainOn = values.Text("train-on")?.ToLowerInvariant() switch { "last" => TrainOn.Last, "all" => TrainOn.All, _ => TrainOn.Assistant },
        // An adapter is evaluated, and trained further, with the layout that it was trained with.
        ChatTemplate = values.Text("chat-template") ?? ModelFolder.TemplateOf(values.Text("adapter"), values.Required("model")),
        CacheDirectory = values.Text("data-cache"),
    };

    /// <summary>Reads a file or folder and checks its ids against the vocabulary before any time is spent.</summary>
    public static DataSet Load(string path, Tokenizer? tokenizer, DataOptions options, CausalLM model, CancellationToken stop)
    {
        DataSet data = DataSet.Load(path, tokenizer, options, stop);
        Check(data, model);
        if (data.Validation is { } held) Check(held, model);
        if (data.Report.TrainedTokens == 0) throw new LoraNetException($"{path}: no row has a trained token: all labels are masked.", "Labels other than -100 are trained.");
        return data;
    }

    private static void Check(DataSet data, CausalLM model)
    {
        int vocabulary = model.Options.VocabularySize;
        for (int r = 0; r < data.Rows.Count; r++)
        {
            TokenRow row = data.Rows[r];
            foreach (int id in row.InputIds)
                if ((uint)id >= (uint)vocabulary) throw new LoraNetException($"{data.PlaceOf(r)}: token id {id} is outside the model's vocabulary of {vocabulary}.", "Use the tokenizer that belongs to this model.");
            foreach (int label in row.Labels)
                if (label != TokenRow.Ignored && (uint)label >= (uint)vocabulary)
                    throw new LoraNetException($"{data.PlaceOf(r)}: label {label} is outside the model's vocabulary of {vocabulary}.", "Use -100 for tokens that are not trained.");
        }
    }
}
