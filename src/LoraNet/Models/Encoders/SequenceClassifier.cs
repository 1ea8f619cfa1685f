using System.Text.Json.Nodes;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Models.Encoders;

/// <summary>
/// BERT or RoBERTa with a head that classifies a text (or pair of texts) or predicts a number from it, as transformers'
/// <c>…ForSequenceClassification</c>. Logits are [samples, classes]. The base model's own dropout is never applied;
/// an adapter's is.
/// </summary>
public sealed class SequenceClassifier : PretrainedModel
{
    private readonly EmbeddingModule _words, _positions, _types;
    private readonly NormModule _embeddingNorm;
    private readonly EncoderLayer[] _layers;
    private readonly LinearModule _dense, _projection;

    /// <summary>Builds the module tree over stored weights.</summary>
    /// <param name="backend">Where it is computed.</param>
    /// <param name="config">config.json.</param>
    /// <param name="options">The family's options.</param>
    /// <param name="weights">Tensors; a missing head is drawn anew from <paramref name="headSeed"/>.</param>
    /// <param name="headSeed">Seed of a new head.</param>
    /// <exception cref="LoraNetException">A tensor is missing or has another shape than config.json implies.</exception>
    public SequenceClassifier(Backend backend, ModelConfig config, EncoderOptions options, IWeightSource weights, ulong headSeed = 42)
        : base(backend, config, new EncoderWeights(weights, options, headSeed))
    {
        Options = options;
        HasNewHead = ((EncoderWeights)Weights).HasNewHead;
        int hidden = options.HiddenSize;
        string prefix = options.Prefix;
        _words = Embedding($"{prefix}.embeddings.word_embeddings", options.VocabularySize);
        _positions = Embedding($"{prefix}.embeddings.position_embeddings", options.Positions);
        _types = Embedding($"{prefix}.embeddings.token_type_embeddings", options.TokenTypes);
        _embeddingNorm = Norm($"{prefix}.embeddings.LayerNorm");
        _layers = new EncoderLayer[options.Layers];
        for (int i = 0; i < _layers.Length; i++) _layers[i] = BuildLayer($"{prefix}.encoder.layer.{i}");
        if (options.Head == ClassificationHead.Pooler)
        {
            if (!Has($"{prefix}.pooler.dense.weight"))
                throw new LoraNetException($"{config.Source}: the weights have no '{prefix}.pooler.dense', which a {options.ModelType} classifier reads.", "Use weights that were saved with the pooler.");
            _dense = Linear($"{prefix}.pooler.dense", hidden, hidden);
            _projection = Linear("classifier", options.Labels, hidden);
        }
        else
        {
            _dense = Linear("classifier.dense", hidden, hidden);
            _projection = Linear("classifier.out_proj", options.Labels, hidden);
        }
    }

    /// <summary>Opens a Hugging Face model folder, of a classifier or of the bare base model.</summary>
    /// <param name="directory">config.json and safetensors.</param>
    /// <param name="backend">Where it is computed.</param>
    /// <param name="labels">Names of the classes for a new head; one name (or none for null) predicts a number. Null takes config.json's.</param>
    /// <param name="headSeed">Seed of a new head.</param>
    /// <exception cref="LoraNetException">The folder, its config or its weights are not usable.</exception>
    public static SequenceClassifier Load(string directory, Backend backend, IReadOnlyList<string>? labels = null, ulong headSeed = 42)
    {
        ModelConfig config = ModelConfig.Load(directory);
        if (labels is not null) config = WithLabels(config, labels);
        return new SequenceClassifier(backend, config, EncoderFamilies.Options(config), new FolderWeights(directory), headSeed);
    }

    /// <summary>The family's options.</summary>
    public EncoderOptions Options { get; }

    /// <summary>True when the files had no head, so that it was drawn anew and predicts nothing before training.</summary>
    public bool HasNewHead { get; }

    /// <inheritdoc/>
    public override string? OutputHeadPath => _projection.Path;

    /// <inheritdoc/>
    public override IReadOnlyList<string> DefaultTargets { get; } = ["query", "value"];

    /// <inheritdoc/>
    public override (IReadOnlyList<string> Targets, IReadOnlyList<string> FeedForward) Ia3Targets { get; } = (["key", "value", "output.dense"], ["output.dense"]);

    /// <inheritdoc/>
    public override string TaskType => "SEQ_CLS";

    /// <summary>A model with the active adapters merged into copies of the weights; this one and its adapters stay as they are.</summary>
    public SequenceClassifier MergeAndUnload() => new(Backend, Config, Options, new Lora.MergedWeights(this));

    /// <summary>
    /// Forward and backward of one micro-batch: adds the samples' losses to <paramref name="lossSum"/> and gradScale times their
    /// gradient to the trainable parameters. Classes: −log p(label). Numbers: (logit − label)².
    /// </summary>
    /// <param name="tape">An empty tape; empty again afterwards.</param>
    /// <param name="batch">The micro-batch.</param>
    /// <param name="context">Training state; dropout is active when it says so.</param>
    /// <param name="gradScale">1 / samples of the whole optimizer step.</param>
    /// <param name="lossSum">[1], parameter type.</param>
    /// <param name="tokenOffset">Tokens of earlier micro-batches of this step.</param>
    /// <param name="rowOffset">Samples of earlier micro-batches of this step.</param>
    /// <param name="logits">Receives the logits [samples, classes] before the loss overwrites them, or null.</param>
    public void AccumulateLoss(Tape tape, EncoderBatch batch, ForwardContext context, float gradScale, Tensor lossSum, long tokenOffset = 0, long rowOffset = 0, Action<Tensor>? logits = null)
    {
        Tensor output = Forward(tape, batch, context, tokenOffset, rowOffset);
        logits?.Invoke(output);
        if (Options.Regression) SquaredError(tape, output, batch, gradScale, lossSum);
        else CrossEntropy(tape, output, batch, gradScale, lossSum);
        Arena.Release(output);
        tape.Backward();
    }

    /// <summary>Logits [samples, classes]; the caller releases them.</summary>
    public Tensor Logits(Arena arena, EncoderBatch batch) => Forward(new Tape(arena) { Recording = false }, batch, new ForwardContext(), 0, 0);

    /// <summary>The last hidden state of every token [tokens, hidden]; the caller releases it.</summary>
    public Tensor HiddenStates(Arena arena, EncoderBatch batch) => Encode(new Tape(arena) { Recording = false }, batch, new ForwardContext(), null, 0);

    private Tensor Forward(Tape tape, EncoderBatch batch, ForwardContext context, long tokenOffset, long rowOffset)
    {
        context.RowOffset = tokenOffset;
        Tensor first = Encode(tape, batch, context, batch.FirstTokens, rowOffset);
        Tensor dense = DecoderLayer.Replace(first, _dense.Forward(tape, first, context));
        Tensor squashed = DecoderLayer.Replace(dense, ActivationOp.Forward(tape, Activation.Tanh, dense));
        return DecoderLayer.Replace(squashed, _projection.Forward(tape, squashed, context));
    }

    private Tensor Encode(Tape tape, EncoderBatch batch, ForwardContext context, Tensor? rows, long rowOffset)
    {
        Tensor h = Sum(tape, _words.Forward(tape, batch.Ids), _types.Forward(tape, batch.Types));
        h = Sum(tape, h, _positions.Forward(tape, batch.Positions));
        h = DecoderLayer.Replace(h, _embeddingNorm.Forward(tape, h));
        for (int i = 0; i < _layers.Length; i++) h = _layers[i].Forward(tape, h, context, batch.Layout, i == _layers.Length - 1 ? rows : null, rowOffset);
        return h;
    }

    private static Tensor Sum(Tape tape, Tensor a, Tensor b)
    {
        Tensor sum = AddOp.Forward(tape, a, b);
        Arena.Release(a);
        Arena.Release(b);
        return sum;
    }

    private void CrossEntropy(Tape tape, Tensor logits, EncoderBatch batch, float gradScale, Tensor lossSum)
    {
        Tensor loss = tape.Arena.Rent(Backend.ParameterType, batch.Rows);
        // As in the language model's head, the logits become their own gradient.
        Backend.CrossEntropy(logits, batch.Targets, gradScale, 0, loss, tape.Tracks(logits) ? logits : null);
        Backend.Sum(loss, lossSum, accumulate: true);
        if (tape.Tracks(logits)) logits.Grad = tape.Arena.View(logits, logits.Rows, logits.Columns);
        Arena.Release(loss);
    }

    private void SquaredError(Tape tape, Tensor logits, EncoderBatch batch, float gradScale, Tensor lossSum)
    {
        Tensor difference = tape.Rent(logits.Rows, 1);
        Backend.Add(logits, batch.Targets, difference);
        Backend.ColumnSum(difference, difference, 1, lossSum, accumulate: true);
        if (tape.Tracks(logits))
        {
            logits.Grad = tape.Rent(logits.Rows, 1);
            Backend.Scale(difference, 2 * gradScale, logits.Grad);
        }
        Arena.Release(difference);
    }

    private EncoderLayer BuildLayer(string prefix)
    {
        int hidden = Options.HiddenSize, inner = Options.IntermediateSize;
        return new EncoderLayer(Options)
        {
            Query = Linear($"{prefix}.attention.self.query", hidden, hidden),
            Key = Linear($"{prefix}.attention.self.key", hidden, hidden),
            Value = Linear($"{prefix}.attention.self.value", hidden, hidden),
            Output = Linear($"{prefix}.attention.output.dense", hidden, hidden),
            AttentionNorm = Norm($"{prefix}.attention.output.LayerNorm"),
            Up = Linear($"{prefix}.intermediate.dense", inner, hidden),
            Down = Linear($"{prefix}.output.dense", hidden, inner),
            OutputNorm = Norm($"{prefix}.output.LayerNorm"),
        };
    }

    private EmbeddingModule Embedding(string path, int rows) => Register(new EmbeddingModule(path, Tensor(path + ".weight", false, rows, Options.HiddenSize), 1));

    private NormModule Norm(string path)
    {
        BaseTensor weight = Tensor(path + ".weight", false, Options.HiddenSize), bias = Tensor(path + ".bias", false, Options.HiddenSize);
        return Register(new NormModule(path, weight, bias, Options.NormEps, 0, centred: true));
    }

    private static ModelConfig WithLabels(ModelConfig config, IReadOnlyList<string> labels)
    {
        JsonObject json = config.ToJson();
        JsonObject names = [], numbers = [];
        int count = Math.Max(1, labels.Count);
        for (int i = 0; i < count; i++)
        {
            string name = i < labels.Count ? labels[i] : "LABEL_0";
            names[i.ToString(System.Globalization.CultureInfo.InvariantCulture)] = name;
            numbers[name] = i;
        }
        json["id2label"] = names;
        json["label2id"] = numbers;
        json["problem_type"] = count == 1 ? "regression" : "single_label_classification";
        json["architectures"] = new JsonArray(config.ModelType switch { "bert" => "BertForSequenceClassification", "roberta" => "RobertaForSequenceClassification", _ => "XLMRobertaForSequenceClassification" });
        json.Remove("num_labels");
        return ModelConfig.Parse(json, config.Source);
    }
}
