using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Models;

/// <summary>
/// A decoder language model of any supported family (Llama and relatives). Shapes: tokens are rows; logits are
/// [rows, vocabulary] and exist only a chunk at a time.
/// </summary>
public sealed class CausalLM : PretrainedModel
{
    private readonly DecoderLayer[] _layers;
    private readonly EmbeddingModule _embedding;
    private readonly EmbeddingModule? _positionEmbedding;
    private readonly NormModule _finalNorm;
    private readonly LinearModule _head;
    private readonly RopeTables _rope;

    /// <summary>Builds the module tree over stored weights.</summary>
    /// <exception cref="LoraNetException">A tensor is missing or has another shape than config.json implies.</exception>
    public CausalLM(Backend backend, ModelConfig config, DecoderOptions options, IWeightSource weights) : base(backend, config, weights)
    {
        Options = options;
        DecoderNames names = options.Names;
        _embedding = BuildEmbedding(options, out BaseTensor table);
        if (names.PositionEmbedding is { } positions)
            _positionEmbedding = Register(new EmbeddingModule(positions, Tensor(positions + ".weight"), 1));
        _layers = new DecoderLayer[options.Layers];
        for (int i = 0; i < _layers.Length; i++) _layers[i] = BuildLayer(options, i);
        _finalNorm = Norm(names.FinalNorm, options.HiddenSize);
        bool ownHead = Has(names.Head + ".weight") && !options.TiedEmbeddings;
        _head = ownHead
            ? Linear(names.Head, options.VocabularySize, options.HiddenSize)
            : Register(new LinearModule(names.Head, Tie(names.Head + ".weight", table), null));
        if (!ownHead && !options.TiedEmbeddings)
            throw new LoraNetException($"config.json says that the head is not tied, but '{names.Head}.weight' is missing from the weights.", "Set tie_word_embeddings to true if this model shares its embedding.");
        _rope = new RopeTables(backend, options.HeadSize, config.MaxPositionEmbeddings);
    }

    /// <summary>Opens a Hugging Face model folder: config.json and safetensors. Nothing is read beyond the headers until it is used.</summary>
    /// <exception cref="LoraNetException">The folder, its config or its weights are not usable.</exception>
    public static CausalLM Load(string directory, Backend backend)
    {
        ModelConfig config = ModelConfig.Load(directory);
        DecoderOptions options = Families.DecoderFamilies.Options(config);
        return new CausalLM(backend, config, options, new FolderWeights(directory));
    }

    /// <summary>A model with the active adapters merged into copies of the weights; this one and its adapters stay as they are.</summary>
    public CausalLM MergeAndUnload()
    {
        Lora.MergedWeights merged = new(this);
        return new CausalLM(Backend, Config, merged.Untied ? Options with { TiedEmbeddings = false } : Options, merged);
    }

    /// <summary>The family's options.</summary>
    public DecoderOptions Options { get; }

    /// <summary>Layers, from the first on, that keep only their input in a forward and compute the rest again in the backward.
    /// Each saves the memory of its activations and costs one more forward of it.</summary>
    public int RecomputedLayers { get; set; }

    /// <inheritdoc/>
    public override string? OutputHeadPath => _head.Path;

    /// <inheritdoc/>
    public override IReadOnlyList<string> DefaultTargets => Options.DefaultTargets;

    /// <inheritdoc/>
    public override (IReadOnlyList<string> Targets, IReadOnlyList<string> FeedForward) Ia3Targets
    {
        get
        {
            DecoderNames n = Options.Names;
            // GPT-2 has two layers called c_proj, so its last one needs its whole name.
            string down = n.Down.EndsWith("c_proj", StringComparison.Ordinal) ? n.Down : Last(n.Down);
            IReadOnlyList<string> attention = n.FusedQueryKeyValue is { } fused ? [Last(fused)] : [Last(n.Key), Last(n.Value)];
            return ([.. attention, down], [down]);

            static string Last(string path) => path[(path.LastIndexOf('.') + 1)..];
        }
    }

    /// <summary>
    /// Rows of logits computed at a time: a chunk near 32 MB on a host, whose caches are small; on a device 256 MB and whole tiles of 128
    /// rows, since every chunk reads the whole head and few rows would leave its matrix units idle.
    /// </summary>
    public int LogitsChunkRows
    {
        get
        {
            if (Backend.IsHost) return Math.Clamp((int)((32L << 20) / 4 / Options.VocabularySize), 64, 4096);
            long rows = (256L << 20) / Backend.ComputeType.Size() / Options.VocabularySize / 128 * 128;
            return (int)Math.Clamp(rows, 128, 4096);
        }
    }

    /// <summary>
    /// Forward and backward of one micro-batch: adds Σ −log p(label) to <paramref name="lossSum"/> and gradScale times its
    /// gradient to the trainable parameters. Logits of untrained tokens are never computed.
    /// </summary>
    /// <param name="tape">An empty tape; empty again afterwards.</param>
    /// <param name="batch">The micro-batch.</param>
    /// <param name="context">Training state; dropout is active when it says so.</param>
    /// <param name="gradScale">1 / trained tokens of the whole optimizer step.</param>
    /// <param name="lossSum">[1], parameter type.</param>
    /// <param name="tokenOffset">Tokens of earlier micro-batches of this step.</param>
    /// <param name="trainedOffset">Trained tokens of earlier micro-batches of this step.</param>
    public void AccumulateLoss(Tape tape, TokenBatch batch, ForwardContext context, float gradScale, Tensor lossSum, long tokenOffset = 0, long trainedOffset = 0)
    {
        if (batch.TrainedTokens == 0) return;
        context.RowOffset = tokenOffset;
        using IDisposable? mixed = BeginRows(batch, context);
        Tensor hidden = Hidden(tape, batch, context, batch.TrainedRows, trainedOffset);
        HeadLoss(tape, hidden, batch.Targets, context, gradScale, lossSum, trainedOffset);
        Arena.Release(hidden);
        tape.Backward();
    }

    /// <summary>True when <see cref="AccumulateLoss"/> never needs the host in between, so that a backend may record it.</summary>
    internal bool CanRecord => Options.Names.Router is null;

    /// <summary>Addresses of the rotary tables for positions up to <paramref name="maxPosition"/>: a growing table moves.</summary>
    internal long RopeAddresses(int maxPosition)
    {
        long hash = 17;
        for (int i = 0; i < _layers.Length; i++)
            if (Options.Rope(i) is { } rope) hash = hash * 31 + _rope.Get(rope, maxPosition + 1).Cos.Address;
        return hash;
    }

    /// <summary>Positions that padding may have after samples of <paramref name="longest"/> positions: those that no table ends before and that
    /// leave length-dependent rotations as they are.</summary>
    internal int PaddingPositions(int longest)
    {
        int most = Config.MaxPositionEmbeddings;
        for (int i = 0; i < _layers.Length && most > longest; i++)
            if (Options.Rope(i) is { } rope && rope.Regime(most, Config.MaxPositionEmbeddings) != rope.Regime(longest, Config.MaxPositionEmbeddings)) most = longest;
        return Math.Max(longest, most);
    }

    /// <summary>Refuses sequences that a table of learned positions does not cover.</summary>
    /// <exception cref="LoraNetException">There are more positions than rows in the table.</exception>
    internal void CheckPositions(int length)
    {
        if (_positionEmbedding is { } table && length > table.Weight.Weight!.Rows)
            throw new LoraNetException($"A sequence has {length} tokens; the model has positions for {table.Weight.Weight.Rows}.", "Use shorter sequences (--max-length), or fewer new tokens.");
    }

    /// <summary>Logits of every token, chunk by chunk: <paramref name="consume"/> gets the first row's number and [rows, vocabulary] values.</summary>
    public void Logits(Arena arena, TokenBatch batch, Action<int, Tensor> consume)
    {
        Tape tape = new(arena) { Recording = false };
        ForwardContext context = new();
        using IDisposable? mixed = BeginRows(batch, context);
        RowAdapters? adapters = context.Adapters;
        Tensor hidden = Hidden(tape, batch, context, null, 0);
        for (int first = 0; first < hidden.Rows; first += LogitsChunkRows)
        {
            Tensor chunk = arena.Slice(hidden, first, Math.Min(LogitsChunkRows, hidden.Rows - first));
            context.Adapters = adapters?.Select(Enumerable.Range(first, chunk.Rows));
            Tensor logits = HeadLogits(tape, chunk, context);
            consume(first, logits);
            Arena.Release(logits);
            Arena.Release(chunk);
        }
        Arena.Release(hidden);
    }

    /// <summary>Runs rows forward and shows the input of every linear layer, the head's included, to an observer.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="begin">Receives the batch before it runs.</param>
    /// <param name="observer">Receives layers and inputs; the tensors are gone afterwards.</param>
    internal void Observe(IReadOnlyList<TokenRow> rows, Action<TokenBatch> begin, Action<LinearModule, Tensor> observer)
    {
        using Arena arena = new(Backend);
        using TokenBatch batch = TokenBatch.Create(Backend, rows, Options.VocabularySize);
        begin(batch);
        Tensor hidden = Hidden(new Tape(arena) { Recording = false }, batch, new ForwardContext { Observer = observer }, null, 0);
        observer(_head, hidden);
        Arena.Release(hidden);
        Backend.Synchronize();
    }

    /// <summary>A cache for generation.</summary>
    public KeyValueCache CreateCache(int sequences, int capacity) =>
        new(Backend, Options.Layers, Options.KeyValueHeads * Options.HeadSize, sequences, capacity);

    /// <summary>
    /// Runs new tokens of several sequences through the cache and returns the logits [number of sequences with new tokens, vocabulary]
    /// of each one's last token, in order of <paramref name="tokens"/>. The caller releases them.
    /// On backends that record, one pass after another is fast only while nothing else that the arena lent is held.
    /// </summary>
    /// <param name="arena">Lends the temporaries.</param>
    /// <param name="cache">Keys and values so far; extended.</param>
    /// <param name="tokens">Sequence numbers and their new tokens.</param>
    /// <param name="adapters">Adapter of each entry of <paramref name="tokens"/> (<c>__base__</c> for none, null for the active ones), or null when the active ones serve all.</param>
    /// <exception cref="LoraNetException">A sequence outgrows the cache or the model's positions, is named twice or gets no token, or an adapter is unknown or cannot be chosen by row.</exception>
    public Tensor Decode(Arena arena, KeyValueCache cache, IReadOnlyList<(int Sequence, int[] Tokens)> tokens, IReadOnlyList<string?>? adapters = null)
    {
        if (adapters is not null && adapters.Count != tokens.Count) throw new ArgumentException($"{adapters.Count} adapters for {tokens.Count} sequences.", nameof(adapters));
        using IDisposable? mixed = adapters is null ? null : UseByRow([.. adapters.Distinct()]);
        using RowAdapters? rowAdapters = adapters is null ? null : new RowAdapters(Backend, [.. tokens.SelectMany((t, i) => Enumerable.Repeat(adapters[i], t.Tokens.Length))], ActiveAdapters);
        DecodeRows rows = new(cache, tokens, this);
        if (cache.Recorded is { } other && other.Key.Arena != arena) cache.Recorded = null;
        // A replay writes into whatever the arena lent while it was recorded: nobody may hold anything of it but the recording its logits.
        bool alone = arena.Live == (cache.Recorded is null ? 0 : 1);
        bool records = rows.Single && !rows.Fresh && adapters is null && Backend.CanRecord && CanRecord && alone;
        DecodeKey key = new(arena, rows.Last.Count, Version, RopeAddresses(rows.Longest - 1));
        if (records && cache.Recorded is { } recorded && recorded.Key == key && recorded.Work.IsValid && recorded.Batch.TryTake(rows))
        {
            recorded.Work.Replay(default);
            return recorded.Lend();
        }
        DecodeBatch batch = new(Backend, cache, rows);
        ForwardContext context = new() { Adapters = rowAdapters };
        Tensor logits = null!;
        // Work that repeats is recorded the second time; a first rehearsal may upload tables.
        bool again = records && cache.Repeats(key);
        if (again) cache.Recorded = null;
        if (again && (Rehearse() || Rehearse()))
        {
            IRecordedWork work = Backend.Record(default, Forward);
            cache.Recorded = new RecordedDecode(key, batch, work, logits);
            work.Replay(default);
            return cache.Recorded.Lend();
        }
        Forward();
        batch.Dispose();
        return logits;

        bool Rehearse()
        {
            bool clean = Backend.Rehearse(Forward);
            Arena.Release(logits);
            return clean;
        }

        void Forward() => logits = Decode(arena, cache, batch, rows, context, rowAdapters?.Select(rows.Last));
    }

    private Tensor Decode(Arena arena, KeyValueCache cache, DecodeBatch batch, DecodeRows rows, ForwardContext context, RowAdapters? gathered)
    {
        DecoderPass pass = new()
        {
            Layout = layer => batch.Layout(Options.Window(layer)),
            Rope = layer => Options.Rope(layer) is { } p ? _rope.Get(p, rows.Longest) : null,
            Positions = batch.Positions,
            Cache = cache,
            CacheRows = batch.CacheRows,
            ReadsCache = !rows.Fresh,
            GatheredAdapters = gathered,
        };
        Tape tape = new(arena) { Recording = false };
        Tensor h = Embed(tape, batch.Ids, batch.Positions, context);
        for (int i = 0; i < _layers.Length; i++) h = _layers[i].Forward(tape, h, context, pass, i == _layers.Length - 1 ? batch.Last : null);
        h = DecoderLayer.Replace(h, _finalNorm.Forward(tape, h));
        Tensor logits = HeadLogits(tape, h, context);
        Arena.Release(h);
        return logits;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _rope.Dispose();
        base.Dispose();
    }

    /// <summary>Final hidden states, normed: of all tokens, or of <paramref name="rows"/> only.</summary>
    private Tensor Hidden(Tape tape, TokenBatch batch, ForwardContext context, Tensor? rows, long gatheredRowOffset)
    {
        CheckPositions(batch.Tokens == 0 ? 0 : batch.MaxPosition + 1);
        DecoderPass pass = new()
        {
            Layout = layer => batch.Causal(Options.Window(layer)),
            Rope = layer => Options.Rope(layer) is { } p ? _rope.Get(p, batch.MaxPosition + 1) : null,
            Positions = batch.Positions,
            GatheredRowOffset = gatheredRowOffset,
            GatheredAdapters = rows is null ? null : context.Adapters?.Select(batch.HostTrainedRows),
        };
        Tensor h = Embed(tape, batch.Ids, batch.Positions, context);
        for (int i = 0; i < _layers.Length; i++)
        {
            // Layers below the lowest adapter keep nothing anyway; the last one keeps little where rows are gathered.
            bool again = i < RecomputedLayers && i < _layers.Length - 1 && tape.Recording && (h.RequiresGrad || _layers[i].Trains);
            h = again
                ? RecomputedLayerOp.Forward(tape, h, _layers[i], context, pass)
                : _layers[i].Forward(tape, h, context, pass, i == _layers.Length - 1 ? rows : null);
        }
        return DecoderLayer.Replace(h, _finalNorm.Forward(tape, h));
    }

    /// <summary>Lets the rows of a mixed batch choose their adapters until the returned object is disposed; null for any other batch.</summary>
    private Restore? BeginRows(TokenBatch batch, ForwardContext context)
    {
        if (batch.AdapterNames is not { } names) return null;
        IDisposable use = UseByRow(names);
        context.Adapters = batch.Adapters(ActiveAdapters);
        return new Restore(() =>
        {
            context.Adapters = null;
            use.Dispose();
        });
    }

    private Tensor Embed(Tape tape, Tensor ids, Tensor positions, ForwardContext context)
    {
        Tensor h = _embedding.Forward(tape, ids, context);
        if (_positionEmbedding is null) return h;
        Tensor p = _positionEmbedding.Forward(tape, positions, context);
        Tensor sum = AddOp.Forward(tape, h, p);
        Arena.Release(h);
        Arena.Release(p);
        return sum;
    }

    /// <summary>
    /// Linear cross-entropy in chunks: each chunk's logits are computed, turned into their own gradient in place and sent
    /// back through the head before the next chunk, so that all logits never exist.
    /// </summary>
    private void HeadLoss(Tape tape, Tensor hidden, Tensor targets, ForwardContext context, float gradScale, Tensor lossSum, long trainedOffset)
    {
        Arena arena = tape.Arena;
        Tape headTape = tape.Inner;
        headTape.Recording = tape.Recording;
        bool tracks = tape.Tracks(hidden);
        RowAdapters? adapters = context.Adapters;
        Tensor? gradient = null;
        if (tracks)
        {
            gradient = tape.Rent(hidden.Rows, hidden.Columns);
            Backend.Zero(gradient);
        }
        // Chunks of equal size on a host: a small last one would cost as much to unpack the head for. Whole tiles elsewhere.
        int chunks = (hidden.Rows + LogitsChunkRows - 1) / LogitsChunkRows;
        int size = Backend.IsHost && chunks > 0 ? (hidden.Rows + chunks - 1) / chunks : LogitsChunkRows;
        for (int first = 0; first < hidden.Rows; first += size)
        {
            int rows = Math.Min(size, hidden.Rows - first);
            Tensor chunk = arena.Slice(hidden, first, rows);
            chunk.RequiresGrad = tracks;
            if (gradient is not null) chunk.Grad = arena.Slice(gradient, first, rows);
            context.RowOffset = trainedOffset + first;
            context.Adapters = adapters?.Select(Enumerable.Range(first, rows));
            Tensor logits = _head.Forward(headTape, chunk, context);
            Tensor target = arena.Slice(targets, first, rows);
            Tensor loss = arena.Rent(Backend.ParameterType, rows);
            Backend.CrossEntropy(logits, target, gradScale, Options.FinalSoftCap, loss, logits.RequiresGrad ? logits : null);
            Backend.Sum(loss, lossSum, accumulate: true);
            if (logits.RequiresGrad)
            {
                logits.Grad = arena.View(logits, logits.Rows, logits.Columns);
                headTape.Backward();
            }
            Arena.Release(loss);
            Arena.Release(target);
            Arena.Release(logits);
            Arena.Release(chunk);
        }
        if (gradient is not null) tape.AddGradient(hidden, gradient);
        Arena.Release(gradient);
    }

    private Tensor HeadLogits(Tape tape, Tensor hidden, ForwardContext context)
    {
        Tensor logits = _head.Forward(tape, hidden, context);
        if (Options.FinalSoftCap > 0) Backend.SoftCap(logits, Options.FinalSoftCap, logits);
        return logits;
    }

    private EmbeddingModule BuildEmbedding(DecoderOptions options, out BaseTensor table)
    {
        DecoderNames names = options.Names;
        string name = names.Embedding + ".weight";
        // A tied model may store its one table under either name.
        string stored = !Has(name) && options.TiedEmbeddings && Has(names.Head + ".weight") ? names.Head + ".weight" : name;
        BaseTensor tensor = Tensor(stored, false, options.VocabularySize, options.HiddenSize);
        table = stored == name ? tensor : Tie(name, tensor);
        return Register(new EmbeddingModule(names.Embedding, table, options.EmbeddingScale));
    }

    private DecoderLayer BuildLayer(DecoderOptions options, int index)
    {
        DecoderNames names = options.Names;
        string prefix = string.Format(System.Globalization.CultureInfo.InvariantCulture, names.Layer, index);
        int hidden = options.HiddenSize, queryWidth = options.Heads * options.HeadSize, keyWidth = options.KeyValueHeads * options.HeadSize;
        bool transposed = options.TransposedWeights;
        int firstModule = Modules.Count;
        bool fused = names.FusedQueryKeyValue is not null;
        bool normed = options.QueryKeyNorm != QueryKeyNorm.None;
        bool perHead = options.QueryKeyNorm == QueryKeyNorm.PerHead;
        NormModule? attentionNorm = OptionalNorm(names.AttentionNorm, hidden);
        LinearModule? query = fused ? null : Linear($"{prefix}.{names.Query}", queryWidth, hidden, transposed);
        LinearModule? key = fused ? null : Linear($"{prefix}.{names.Key}", keyWidth, hidden, transposed);
        LinearModule? value = fused ? null : Linear($"{prefix}.{names.Value}", keyWidth, hidden, transposed);
        LinearModule? qkv = fused ? Linear($"{prefix}.{names.FusedQueryKeyValue}", queryWidth + 2 * keyWidth, hidden, transposed) : null;
        NormModule? queryNorm = normed ? Norm($"{prefix}.{names.QueryNorm}", perHead ? options.HeadSize : queryWidth) : null;
        NormModule? keyNorm = normed ? Norm($"{prefix}.{names.KeyNorm}", perHead ? options.HeadSize : keyWidth) : null;
        LinearModule output = Linear($"{prefix}.{names.Output}", hidden, queryWidth, transposed);
        NormModule? attentionPostNorm = OptionalNorm(names.AttentionPostNorm, hidden);
        NormModule? mlpNorm = OptionalNorm(names.MlpNorm, hidden);
        IMlp mlp = BuildMlp(options, prefix);
        NormModule? mlpPostNorm = OptionalNorm(names.MlpPostNorm, hidden);
        return new DecoderLayer(options, index)
        {
            AttentionNorm = attentionNorm,
            AttentionPostNorm = attentionPostNorm,
            MlpNorm = mlpNorm,
            MlpPostNorm = mlpPostNorm,
            QueryNorm = queryNorm,
            KeyNorm = keyNorm,
            Query = query,
            Key = key,
            Value = value,
            FusedQueryKeyValue = qkv,
            Output = output,
            Mlp = mlp,
            Modules = [.. Modules.Skip(firstModule)],
        };

        NormModule? OptionalNorm(string? name, int width) => name is null ? null : Norm($"{prefix}.{name}", width);
    }

    private IMlp BuildMlp(DecoderOptions options, string prefix)
    {
        DecoderNames names = options.Names;
        int hidden = options.HiddenSize, inner = options.IntermediateSize;
        bool transposed = options.TransposedWeights;
        if (names.Router is { } router)
        {
            LinearModule gateway = Linear($"{prefix}.{router}", options.Experts, hidden, wideOutput: true);
            GatedMlp[] experts = new GatedMlp[options.Experts];
            for (int e = 0; e < experts.Length; e++) experts[e] = Gated($"{prefix}.{string.Format(System.Globalization.CultureInfo.InvariantCulture, names.Expert, e)}");
            if (names.StackedExperts is { } stacked)
            {
                StackedWeight gateUp = new("gate_up_proj", [.. experts.Select(e => e.Inputs)]), down = new("down_proj", [.. experts.Select(e => new[] { e.Down })]);
                Register(new ExpertsModule($"{prefix}.{stacked}", [gateUp, down]));
            }
            return new MixtureOfExperts(gateway, experts, options.ExpertsPerToken);
        }
        if (!options.GatedMlp)
        {
            LinearModule first = Linear($"{prefix}.{names.Up}", inner, hidden, transposed);
            return new PlainMlp(options.Activation, first, Linear($"{prefix}.{names.Down}", hidden, inner, transposed));
        }
        return Gated(prefix);

        GatedMlp Gated(string path)
        {
            bool fused = names.FusedGateUp is not null;
            LinearModule? both = fused ? Linear($"{path}.{names.FusedGateUp}", 2 * inner, hidden, transposed) : null;
            LinearModule? gate = fused ? null : Linear($"{path}.{names.Gate}", inner, hidden, transposed);
            LinearModule? up = fused ? null : Linear($"{path}.{names.Up}", inner, hidden, transposed);
            return new GatedMlp(options.Activation, gate, up, both, Linear($"{path}.{names.Down}", hidden, inner, transposed));
        }
    }

    private NormModule Norm(string path, int width)
    {
        BaseTensor weight = Tensor(path + ".weight", false, width);
        BaseTensor? bias = Options.LayerNorm && Has(path + ".bias") ? Tensor(path + ".bias", false, width) : null;
        return Register(new NormModule(path, weight, bias, Options.NormEps, Options.NormOffset, Options.LayerNorm));
    }
}
