using LoraNet.Cli.Settings;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Reports;
using LoraNet.Tensors;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>What a run trains on, counted.</summary>
/// <param name="Rows">Training rows.</param>
/// <param name="Batches">Rows as they go into batches; fewer when packed.</param>
/// <param name="Held">Held-out rows.</param>
/// <param name="Tokens">Tokens of the training rows.</param>
/// <param name="Trained">What the loss counts of them.</param>
/// <param name="HeldTrained">What the loss counts of the held-out rows.</param>
/// <param name="Longest">Longest training row.</param>
/// <param name="Truncated">Training rows that were cut.</param>
internal sealed record RunData(int Rows, int Batches, int Held, long Tokens, long Trained, long HeldTrained, int Longest, int Truncated);

/// <summary>A model with its data: next-token prediction or classification. Everything in which their runs differ.</summary>
internal abstract class RunTask : IDisposable
{
    /// <summary>The model.</summary>
    public abstract PretrainedModel Model { get; }

    /// <summary>Model and data for the trainer.</summary>
    public abstract ITrainingTask Task { get; }

    /// <summary>Counts.</summary>
    public abstract RunData Data { get; }

    /// <summary>What deserves attention in the data.</summary>
    public abstract IReadOnlyList<string> Warnings { get; }

    /// <summary>What the loss counts: tokens or samples.</summary>
    public abstract string Unit { get; }

    /// <summary>Last names of the attention projections, for presets.</summary>
    public abstract IReadOnlyList<string> Attention { get; }

    /// <summary>Prompts to continue before and after, or null.</summary>
    public abstract Samples? CreateSamples();

    /// <summary>Largest logit difference of the merged model, and the largest logit.</summary>
    public abstract (double Difference, double Largest) CompareMerged();

    /// <summary>What to say about a held-out loss besides the loss.</summary>
    public abstract string Describe(double loss);

    /// <summary>Figures of the held-out rows besides the loss, after training.</summary>
    public virtual IReadOnlyList<(string Name, double Value)> Measure(int batchSize) => [];

    /// <summary>Training batches for an initialisation that reads data.</summary>
    /// <exception cref="LoraNetException">The task has none in that form.</exception>
    public virtual IReadOnlyList<IReadOnlyList<TokenRow>> InitialBatches(int batchSize) => throw new LoraNetException("--init eva works for language models only.", "Choose another --init.");

    /// <summary>Opens model and data as the settings say.</summary>
    public static RunTask Open(SettingValues values, Backend backend, Tokenizer? tokenizer, TrainingOptions options, CancellationToken stop)
    {
        ModelConfig config = ModelConfig.Load(values.Required("model"));
        return EncoderFamilies.Names.Contains(config.ModelType)
            ? new ClassifierRun(values, backend, config, tokenizer, options)
            : new LanguageModelRun(values, backend, tokenizer, options, stop);
    }

    /// <inheritdoc/>
    public void Dispose() => Model.Dispose();
}
